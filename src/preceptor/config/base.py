"""What all sections of a recipe share."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]*$")]
"""A word that is safe as the name of a folder."""


Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""What every generator accepts."""


class Section(BaseModel):
    """A table of the recipe: unknown keys are errors, values are not changed after checking."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

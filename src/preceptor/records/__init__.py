"""The small frozen records that travel through every stage."""

from preceptor.records.asking import Completion, Message, Request, Sampling, Spend, TokenLogprob
from preceptor.records.comparing import Comparison, SeedPair
from preceptor.records.examples import KEEP, REAL, Example, Source, Verdict, drop, fingerprint
from preceptor.records.findings import Agreement, Funnel, Judgement, LabellerCheck, RunSummary, Sample
from preceptor.records.hashing import content_hash
from preceptor.records.instructions import CATEGORIES, SHORT, Instruction, instruction_of, instructions_hash, user_text
from preceptor.records.measures import (
    BenchmarkScores,
    InstructSummary,
    MatrixEntry,
    Measure,
    Reading,
    Response,
    TasksFunnel,
)
from preceptor.records.scores import (
    Calibration,
    Corrected,
    Estimate,
    Interval,
    Outcome,
    ParsedAnswer,
    Prediction,
    ReliabilityBin,
    Row,
    Score,
    SeedAgreement,
)

__all__ = [
    "CATEGORIES",
    "KEEP",
    "REAL",
    "SHORT",
    "Agreement",
    "BenchmarkScores",
    "Calibration",
    "Comparison",
    "Completion",
    "Corrected",
    "Estimate",
    "Example",
    "Funnel",
    "InstructSummary",
    "Instruction",
    "Interval",
    "Judgement",
    "LabellerCheck",
    "MatrixEntry",
    "Measure",
    "Message",
    "Outcome",
    "ParsedAnswer",
    "Prediction",
    "Reading",
    "ReliabilityBin",
    "Request",
    "Response",
    "Row",
    "RunSummary",
    "Sample",
    "Sampling",
    "Score",
    "SeedAgreement",
    "SeedPair",
    "Source",
    "Spend",
    "TasksFunnel",
    "TokenLogprob",
    "Verdict",
    "content_hash",
    "drop",
    "fingerprint",
    "instruction_of",
    "instructions_hash",
    "user_text",
]

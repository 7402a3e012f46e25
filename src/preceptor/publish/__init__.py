"""Generated tasks as files that others use, with a data card and figures of how varied they are."""

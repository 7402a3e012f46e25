"""The small frozen records that travel through every stage."""

from preceptor.records.adaptation import AdaptSummary, DocumentLoss, PerplexityChange
from preceptor.records.asking import Completion, Message, Request, Sampling, Spend, TokenLogprob
from preceptor.records.courses import Course, course_of
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
from preceptor.records.prompts import VirtualTokens
from preceptor.records.scores import Estimate, Interval, Outcome, ParsedAnswer, Prediction, Row, Score

__all__ = [
    "CATEGORIES",
    "KEEP",
    "REAL",
    "SHORT",
    "AdaptSummary",
    "Agreement",
    "BenchmarkScores",
    "Completion",
    "Course",
    "DocumentLoss",
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
    "PerplexityChange",
    "Prediction",
    "Reading",
    "Request",
    "Response",
    "Row",
    "RunSummary",
    "Sample",
    "Sampling",
    "Score",
    "Source",
    "Spend",
    "TasksFunnel",
    "TokenLogprob",
    "Verdict",
    "VirtualTokens",
    "content_hash",
    "course_of",
    "drop",
    "fingerprint",
    "instruction_of",
    "instructions_hash",
    "user_text",
]

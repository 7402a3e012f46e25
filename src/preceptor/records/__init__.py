"""The small frozen records that travel through every stage."""

from preceptor.records.adaptation import AdaptSummary, DocumentLoss, PerplexityChange
from preceptor.records.asking import Completion, Message, Request, Sampling, Spend, TokenLogprob
from preceptor.records.comparing import Comparison, SeedPair
from preceptor.records.courses import Course, course_of
from preceptor.records.examples import KEEP, REAL, SAYING_THE_SAME, Example, Source, Verdict, drop, fingerprint
from preceptor.records.findings import Agreement, Arm, Funnel, Judgement, LabellerCheck, RunSummary, Sample
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
from preceptor.records.published import BesideRow, PublishedFigure
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
    TeacherScore,
)
from preceptor.records.sweeping import Looks, PointResult, SettingSpread, SpreadDifference, SweepResult

__all__ = [
    "CATEGORIES",
    "KEEP",
    "REAL",
    "SAYING_THE_SAME",
    "SHORT",
    "AdaptSummary",
    "Agreement",
    "Arm",
    "BenchmarkScores",
    "BesideRow",
    "Calibration",
    "Comparison",
    "Completion",
    "Corrected",
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
    "Looks",
    "MatrixEntry",
    "Measure",
    "Message",
    "Outcome",
    "ParsedAnswer",
    "PerplexityChange",
    "PointResult",
    "Prediction",
    "PublishedFigure",
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
    "SettingSpread",
    "Source",
    "Spend",
    "SpreadDifference",
    "SweepResult",
    "TasksFunnel",
    "TeacherScore",
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

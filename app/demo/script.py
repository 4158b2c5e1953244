"""What the simulated customers say, and what the simulated agents answer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Story:
    """One matter: the customer's words, our answer, the three parts of the receipt, and the customer's verdict."""

    customer: str
    opening: str
    answer: str
    problem: str
    resolution: str
    commitment: str
    csat: int
    solved: bool = True


STORIES = (
    Story(
        "Grace", "Hello, when will my bookshelf arrive? The order is 20771.",
        "It left our warehouse this morning and arrives on Thursday before noon.",
        "You wanted to know when order 20771 arrives.", "We found it: Thursday before noon.",
        "You get a message when the van is half an hour away.", 5,
    ),
    Story(
        "Omar", "URGENT: the lamp you sold me gives electric shocks when I touch it!",
        "Please switch it off at the fuse and do not touch it. A technician is on the way today.",
        "The lamp gave electric shocks.", "A technician took it and left a tested one.",
        "We report to you within a week what was wrong with it.", 4,
    ),
    Story(
        "Mei", "你好，衣柜的门刮花了，可以换一扇吗？",
        "可以的，新的柜门已经为您安排，预计周五送到并免费安装。",
        "衣柜门有刮痕。", "已安排更换新的柜门并免费安装。", "安装第二天我们会给您回电确认。", 5,
    ),
    Story(
        "Ivan", "This is the third time I write: two orders, one refund missing, and nobody answers. I will ask a lawyer.",
        "I am sorry. I have both orders in front of me; the refund is released now and I stay on it until you have it.",
        "A refund over two orders was missing, after three messages.", "The refund was released today.",
        "I call you on Monday to see that it arrived.", 2, solved=False,
    ),
    Story(
        "Lena", "Just to say: the fitters were friendly and quick. Thank you!",
        "What a nice message. We have passed it on to them.",
        "You praised our fitters.", "We told them and their manager.", "We keep it that way.", 5,
    ),
)  # fmt: skip

"""The words of the form's page, once in English and once in Chinese. The keys are the same (tested)."""

from __future__ import annotations

from collections.abc import Mapping

from app.feedback.receipt import Language

ENGLISH: Mapping[str, str] = {
    "eyebrow": "Contact us",
    "title": "How can we help?",
    "intro": "Write to us here. We answer as soon as we can.",
    "optional": "optional",
    "choose": "Please choose",
    "send": "Send",
    "trap": "Leave this field empty",
    "errors": "Please check what you have entered",
    "files_again": "Please choose your files again: browsers do not keep them.",
    "thanks": "Thank you!",
    "thanks_text": "We have received your message and will answer you.",
    "follow": "See where your matter stands",
    "follow_hint": "Keep this link: it works without an account.",
    "error_missing": "Please fill this in.",
    "error_consent": "We can only take your message if you agree.",
    "error_email": "Enter an address such as name@example.com.",
    "error_phone": "Enter a number such as +44 20 7946 0000.",
    "error_option": "Choose one of the options.",
    "error_too_long": "Write at most {limit} characters.",
    "error_file_too_large": "A file may have at most {limit}.",
    "error_too_many_files": "Send at most {limit} files.",
}
CHINESE: Mapping[str, str] = {
    "eyebrow": "联系我们",
    "title": "需要什么帮助？",
    "intro": "请在此留言，我们会尽快答复您。",
    "optional": "选填",
    "choose": "请选择",
    "send": "提交",
    "trap": "请将此栏留空",
    "errors": "请检查您填写的内容",
    "files_again": "请重新选择文件：浏览器不会保留已选文件。",
    "thanks": "谢谢您！",
    "thanks_text": "我们已收到您的留言，将会答复您。",
    "follow": "查看处理进度",
    "follow_hint": "请保存此链接：无需账号即可打开。",
    "error_missing": "请填写此项。",
    "error_consent": "您同意后，我们才能受理您的留言。",
    "error_email": "请填写有效的邮箱地址，例如 name@example.com。",
    "error_phone": "请填写有效的电话号码，例如 +86 10 8888 0000。",
    "error_option": "请从选项中选择。",
    "error_too_long": "最多填写 {limit} 字。",
    "error_file_too_large": "每个文件最大 {limit}。",
    "error_too_many_files": "最多可上传 {limit} 个文件。",
}
TABLES: Mapping[Language, Mapping[str, str]] = {"en": ENGLISH, "zh": CHINESE}


def error(what: str, limit: int | None, language: Language) -> str:
    """What is wrong with a field, for people; bytes as they count them."""
    shown = f"{limit / 1_000_000:g} MB" if what == "file_too_large" and limit is not None else limit
    return TABLES[language][f"error_{what}"].format(limit=shown)

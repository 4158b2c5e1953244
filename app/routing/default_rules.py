"""The shipped classification rules, English and Chinese, as data: home-furnishing after-sales and customer service in general.

Codes are stable: an operator's changes hang on them. What scores mean is told in `classify.py`: 3 decides a category or a
severity, 2 a matter. A score of 2 for a category is a hint that needs another one beside it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict


class RuleData(TypedDict):
    """The columns of a ClassificationRule that are not made by the database."""

    code: str
    name: str
    position: int
    patterns: list[str]
    scores: dict[str, Any]


def _rule(position: int, code: str, name: str, scores: Mapping[str, Mapping[str, int]], *patterns: str) -> RuleData:
    return {"code": code, "name": name, "position": position, "patterns": list(patterns), "scores": dict(scores)}


_DANGER = {"category": {"urgent": 8}, "severity": {"critical": 5}, "matter": {"service_request": 2}}
_BREAKDOWN = {"category": {"urgent": 4}, "severity": {"major": 3}, "matter": {"service_request": 2}}
_PRESSING = {"category": {"urgent": 3}}
_HURRIED = {"category": {"urgent": 2}}
_LEGAL = {"category": {"complex": 5}, "matter": {"complaint": 4}}
_REQUEST = {"matter": {"service_request": 3}}
_QUESTION = {"matter": {"enquiry": 3}}
_ANGRY = {"matter": {"complaint": 4}}

_SAFETY: Sequence[RuleData] = (
    _rule(
        10, "safety-fire", "Fire or burning", _DANGER,
        r"\b(?:on|caught|catch(?:es|ing)?) fire\b",
        r"\bfire (?:broke|started|in (?:the|my|our)|brigade|department|fighters)\b",
        r"\bin flames\b", r"\bflames? (?:came|coming|out|shot)\b",
        r"\bburn(?:ing|t)?[ -](?:smell|plastic|rubber|wire|cable)", r"\bsmell(?:s|ing|ed)? (?:of |like )?(?:something )?burn(?:ing|ed|t)?\b(?! (?:sugar|wood|oak|orange|caramel))",
        r"\b(?:melted|melting|scorched|charred)\b", "着火", "著火", "起火", "失火", "冒火", "火灾", "火災", "烧起来", "燒起來", "烧着了",
        "[焦糊]味",
    ),
    _rule(
        11, "safety-smoke", "Smoke or sparks", _DANGER,
        r"\bsmoke (?:is|was|came|comes|coming|pour\w*|ris\w+|from|out|everywhere|in the)\b", r"\b(?:see|saw|smell\w*|full of) smoke\b",
        r"\b(?:is|was|are|started|starts|began|keeps?) (?:also )?smoking\b", r"\b(?:sparks|sparking|sparked)\b",
        "冒烟", "冒煙", "冒火花", "有火花", "浓烟",
    ),
    _rule(
        12, "safety-electric", "Electric shock or a bare wire", _DANGER,
        r"\belectric(?:al)? shocks?\b", r"\belectrocut\w+", r"\b(?:gave|gives|giving|get|gets|got) (?:me |us |him |her )?a shock\b",
        r"\b(?:got|was) (?:badly )?(?:shocked|zapped) (?:when|while|touching|by the (?:lamp|plug|socket|wire|switch))",
        r"\bshort[- ]circuit", r"\b(?:exposed|bare|live) wir(?:e|es|ing)\b", "漏[电電](?!保护|保護|开关|断路)", "触电", "觸電", r"[被会]电[到了麻]", "短路(?!保护)", "跳闸",
    ),
    _rule(
        13, "safety-gas", "Gas", _DANGER,
        r"\bgas (?:is )?leak\w*", r"\bleak\w* gas\b", r"\bsmell(?:s|ing|ed)? (?:of )?gas\b", "gas smell", "carbon monoxide",
        "(?:煤气|燃气|天然气|煤氣|瓦斯).{0,4}(?:漏|泄|味)", "一氧化碳",
    ),
    _rule(
        14, "safety-injury", "Somebody is hurt", _DANGER,
        r"\b(?:injur(?:ed|y|ies)|bleeding|concussion|ambulance|stitches)\b",
        r"\b(?:hurt|cut|burn(?:ed|t)|scalded|crushed|trapped|broke) (?:my|his|her|their|our) "
        r"(?:\w{1,15} )?(?:head|hands?|arms?|legs?|foot|feet|fingers?|toes?|face|eyes?|back|wrist|knees?)\b",
        r"\b(?:hurt|cut|burn(?:ed|t)|scalded) (?:myself|himself|herself|themselves|my (?:son|daughter|wife|husband|child|mother|father))\b",
        r"\b(?:was|were|is|got|has been) (?:badly |slightly )?hurt\b", r"\bglass in (?:my|his|her) (?:hands?|foot|feet|face|eyes?|legs?)\b",
        r"\b(?:taken|rushed|went|go|is|was|are|ended up|admitted) (?:to|in|at) (?:the )?(?:hospital|emergency room|a&e)\b",
        "受伤", "受傷", "流血", "出血", "骨折", "住院", "送医", "急诊", "烫伤", "燙傷", "[砸夹压割划刮][伤傷到](?:了)?(?:我|人|孩|小孩|宝宝|老人|手|脚|腿|头|脸)",
        "(?:手|脚|腿|头|脸|指).{0,12}[砸夹压割划刮烫]伤", "砸伤", "摔伤",
    ),
    _rule(
        15, "safety-collapse", "Furniture fell, tipped or burst", _DANGER,
        r"\b(?:chair|bed|shelf|shelves|bookcase|wardrobe|cabinet|table|stool|ladder|unit|dresser|cot|crib|lamp|mirror)\b.{0,20}"
        r"\b(?:collapsed|gave way|tipped over|toppled|came crashing|fell (?:on|over|off the (?:wall|ceiling)))",
        r"\b(?:fell|collapsed|tipped|toppled|landed|dropped) (?:over )?on(?:to)? (?:my|me|him|her|us|our)\b",
        r"\bglass\b.{0,20}\b(?:exploded|burst|shattered by itself)", r"\b(?:exploded|explosion)\b",
        r"\bnearly (?:fell|hit|killed|crushed|hurt)\b",
        "(?:柜|床|椅|架|桌|灯|镜|板|玻璃).{0,6}(?:倒下|倒塌|塌了|掉下来|垮了|砸下|爆裂|炸裂|炸了)", "自爆", "爆炸", "差点.{0,4}砸", "砸到.{0,2}(?:人|孩|我|头|脚)",
    ),
    _rule(
        16, "safety-danger", "Called dangerous by the customer", {"category": {"urgent": 4}, "severity": {"major": 3}},
        r"\b(?:is|was|are|very|really|extremely|so|highly) (?:dangerous|hazardous)\b", r"\b(?:choking|fire|safety) hazard\b",
        r"\bcan(?:'t|not) breathe\b", "很危险", "太危险", "安全隐患", "呼吸困难",
    ),
    _rule(
        17, "safety-toxic", "Fumes that make people ill", {"category": {"urgent": 4}, "severity": {"major": 3}},
        r"\b(?:fumes|chemical smell)\b.{0,40}\b(?:dizzy|headaches?|ill|sick|nausea|breathe)\b",
        r"\bpoison(?:ed|ing)\b", r"\ballergic reaction\b", "甲醛超标", "甲醛.{0,8}(?:头晕|恶心|住院|不舒服)", "(?:气味|味道).{0,8}(?:头晕|头痛|恶心|呕吐)", "中毒",
    ),
)  # fmt: skip

_URGENT: Sequence[RuleData] = (
    _rule(
        20, "urgent-water", "Water is escaping", _BREAKDOWN,
        r"\bflood(?:ed|ing)\b", r"\bburst pipe\b|\bpipe (?:has )?burst\b",
        r"\bwater (?:is |was )?(?:leak\w*|pour\w*|everywhere|gush\w*|coming (?:out|through))", r"\bleaking (?:water|badly|everywhere)\b",
        "漏水", "爆管", "打爆", "被?水淹", "淹了", "喷水",
    ),
    _rule(
        21, "urgent-blocked", "Locked out, or without water, heat or power", _BREAKDOWN,
        r"\block(?:ed)? (?:me |us |myself )?(?:out|in)\b(?! (?:the )?(?:price|deal|stock))",
        r"\bcan(?:'t|not) (?:get in(?:to)? (?:my|our|the) (?:home|house|flat|apartment)|lock the (?:front )?door)\b",
        r"\bno (?:heating|hot water|electricity|running water|power in)\b", r"\bonly (?:toilet|bathroom|shower|fridge)\b",
        r"\bpower (?:is |went )?(?:cut|out)\b", "打不开门", "进不了(?:家|门|屋)", "(?:关|锁)在(?:门外|里面|屋里|家里)", "门锁.{0,6}(?:打不开|锁死|失灵|坏)",
        "(?:没有|没)(?:热水|暖气|水用|电用)", "断水", "断电", "停电",
    ),
    _rule(
        23, "urgent-trapped", "People are trapped", _DANGER,
        r"\b(?:lift|elevator)s? (?:is |are |got )?stuck\b.{0,20}\b(?:inside|people|with)\b", r"\bstuck in (?:the |an? )?(?:lift|elevator)\b",
        r"\b(?:people|child|children|someone) (?:is |are )?trapped\b", "困人", "被困(?:在|电梯)", "困在电梯",
    ),
    _rule(
        24, "urgent-outage", "Everybody is affected", _BREAKDOWN,
        r"\beverything is down\b", r"\b(?:complete|total|full) outage\b", r"\b(?:servers?|systems?|site|shop) (?:is |are )?(?:completely |all )?down\b",
        r"\ball (?:our )?users (?:cannot|can't|are unable to)\b", "宕机", "全部瘫痪", "系统(?:崩溃|瘫痪)", "所有用户.{0,4}(?:无法|不能)",
    ),
    _rule(
        22, "urgent-fraud", "Money or an account in wrong hands", {"category": {"urgent": 5}, "severity": {"major": 3}, "matter": {"service_request": 3}},
        r"\b(?:un|not |never )authori[sz]ed (?:\w{1,15} )?(?:charge|payment|order|transaction|purchase|withdrawal)s?\b",
        r"\b(?:hacked|phishing|defrauded|identity theft)\b", r"\b(?:used|uses|using|stole|stolen)\b.{0,20}\bcard\b.{0,40}\bwithout\b",
        r"\bstolen (?:card|account)\b", "盗刷", "盗用", "账号被盗", "被骗了钱", "诈骗", "盜刷",
    ),
    _rule(
        23, "urgent-word", "Urgent, in the customer's own word", _PRESSING,
        r"\burgent(?:ly)?\b", r"\bemergency\b(?! (?:exit|light|kit|contact|brake|room))", r"\basap\b", r"\bas a matter of urgency\b",
        "紧急", "緊急", "加急", "火急", "救急", "急用", "急需", "急死", "急着用", "(?:很|特别|非常|真的|太|好)急", "急[!！]", "急急", "着急", "救命", "来不及",
    ),
    _rule(
        24, "urgent-deadline", "A date that cannot wait", _PRESSING,
        r"\b(?:need|must|ha(?:s|ve) to (?:be|arrive|leave|get)|require|before|by)\b.{0,25}\b(?:today|tonight|tomorrow|this (?:morning|afternoon|evening)|in an? hour)\b",
        r"\b(?:in|within) (?:one|an|two|half an?|the next|a few) (?:hours?|minutes?)\b",
        r"\b(?:wedding|party|funeral|guests|movers|moving|flight)\b.{0,20}\b(?:today|tonight|tomorrow|in (?:one|an|two) hours?)\b",
        "(?:今天|今晚|今日|明天|明早|下午|中午).{0,6}(?:必须|一定要|就要|要用|之前|婚礼|入住|搬家|验收)", "(?:一|半|两|1|2)个?小时.{0,2}[后内]",
    ),
    _rule(
        25, "urgent-no-show", "Waiting for somebody who does not come",
        {"category": {"urgent": 3}, "matter": {"complaint": 2, "service_request": 1}, "complaint_type": {"service_quality": 2}},
        r"\b(?:no ?one|nobody) (?:has )?(?:came|come|showed|shown|turned|arrived)\b",
        r"\b(?:did ?n[o']?t|did not|has ?n'?t|has not|have not|never) (?:show(?:n|ed)?|turn(?:ed)?) up\b", r"\bno[- ]show\b",
        "(?:师傅|安装|送货|司机|维修|人员|的人).{0,12}(?:没来|没到|未到|还没来|不来|爽约|放.{0,2}鸽子)", "放.{0,2}鸽子",
    ),
    _rule(
        26, "urgent-manager", "Wants a superior at once", {"category": {"urgent": 3}, "matter": {"complaint": 2}},
        r"\b(?:speak|talk|spoken|put me through|connect me|escalate(?: this)?|call from)\b.{0,12}\b(?:manager|supervisor|director|person in charge)\b",
        r"\bget me (?:a|the|your) (?:manager|supervisor)\b", "(?:叫|找|让|要|请)(?:你们|你|一下|个)?(?:的)?(?:经理|领导|主管|负责人|老板|店长)",
    ),
    _rule(
        27, "urgent-standstill", "A whole business stands still", {"category": {"urgent": 4}, "severity": {"major": 3}, "matter": {"service_request": 2}},
        r"\b(?:whole|entire|all (?:of )?our) (?:shop|store|stores|office|offices|system|systems|line|production|business)\b.{0,25}"
        r"\b(?:down|offline|stopped|closed|standing still|cannot work)\b",
        r"\bcan(?:'t|not) open (?:the|our) (?:shop|store|restaurant|hotel)\b", "(?:全部|整个|所有).{0,6}(?:停工|停业|瘫痪|停摆)",
    ),
    _rule(
        28, "hurry-soon", "Wants it soon", _HURRIED,
        r"\bas soon as (?:possible|you can)\b", r"\b(?:right (?:now|away)|at once|immediately|straight away|hurry up|quickly please)\b",
        "尽快", "儘快", "马上", "馬上", "立即", "立刻", "赶紧", "赶快", "抓紧", "快(?:点|来|派)",
    ),
    _rule(
        29, "hurry-vulnerable", "Somebody who depends on it", _HURRIED,
        r"\b(?:newborn|(?:sick|new) baby|pregnant|elderly|disabled|wheelchair|after surgery)\b", "新生儿|刚出生", "孕妇", "老人等", "残疾", "病人", "术后", "(?:老人|宝宝|孩子).{0,4}没.{0,2}(?:床|地方)",
    ),
    _rule(
        30, "hurry-waiting-now", "Waiting at this moment", _HURRIED,
        r"\b(?:driver|courier|van|truck|fitter|technician|movers?)\b.{0,12}\b(?:is|are) (?:outside|here|waiting|at the door|downstairs)\b",
        r"\b(?:i am|i'm|we are|we're) (?:still )?(?:standing|stuck|waiting) (?:outside|here|in front|at the (?:door|store|shop|gate))\b",
        r"\bcall (?:me |us )?(?:back )?now\b", "在(?:楼下|门口|现场)等", "一直在家等", "等了一天",
    ),
    _rule(
        31, "no-rush", "Says that it can wait", {"category": {"urgent": -3}},
        r"\bno (?:rush|hurry|pressure)\b", r"\b(?:not|isn't|n't) (?:in a |a |an |that |so )?(?:rush|hurry|urgent|emergency)\b",
        r"\bwhen(?:ever)? (?:you (?:have|get|find)|it suits|convenient)\b", r"\btake your time\b", "不[着]?急", "不紧急", "不用急", "没什么着急", "慢慢来", "有空(?:的时候|再|回)", "方便的时候",
    ),
)  # fmt: skip

_COMPLEX: Sequence[RuleData] = (
    _rule(
        40, "complex-legal", "Lawyers and courts", _LEGAL,
        r"\b(?:lawyers?|attorneys?|solicitors?|barrister|lawsuit|litigation)\b", r"\blegal (?:action|steps|proceedings|advice|claim|department|route)\b",
        r"\bsu(?:e|ing) (?:you|your|the (?:company|store|shop)|for)\b", r"\b(?:small claims|(?:see you|take you|go|going|taken?) (?:\w{1,15} )?(?:in|to)) court\b",
        r"\b(?:unlawful|illegal|against the law)\b", "律师", "律師", "起诉", "起訴", "诉讼", "法院", "打官司", "仲裁", "法律途径", "(?:违|非)法", "诉诸法律",
    ),
    _rule(
        41, "complex-regulator", "Authorities and consumer bodies", _LEGAL,
        r"\b(?:ombudsman|trading standards|better business bureau|bbb|consumer (?:rights|protection|association|council|affairs|advice)|attorney general)\b",
        r"\b(?:the|a|with|to) (?:regulator|watchdog|authorities)\b", r"\b(?:12315|12345|12300)\b", "(?:投诉|举报|打|上|到) ?315", "消协", "消费者协会", "消費者", "(?:市场|市監|市场监)(?:监)?(?:督|管)", "市监局", "工商局?(?:投诉|举报|局)", "举报你们",
        "黑猫投诉", "质监局",
    ),
    _rule(
        42, "complex-media", "Threatens publicity", _LEGAL,
        r"\b(?:to|with|contact|contacting|inform|call|tell) the (?:press|media|papers|newspapers?)\b", r"\bgo(?:ing)? (?:public|viral)\b", r"\bjournalists?\b",
        r"\b(?:post|posting|share|put|expose|publish)\b.{0,30}\b(?:on|all over) (?:social media|twitter|tiktok|facebook|youtube|instagram|reddit|the internet)\b",
        "曝光", "(?:找|联系|通知|告诉|请)(?:新闻)?(?:媒体|记者|电视台)", "(?:发|挂|放|捅|传)(?:到|上)?(?:网上|微博|抖音|小红书|朋友圈|热搜|网络)",
    ),
    _rule(
        43, "complex-repeated", "Several contacts, not solved", {"category": {"complex": 4}, "matter": {"complaint": 4}, "complaint_type": {"process": 2}},
        r"\b(?:called|contacted|emailed|written|wrote|messaged|rang|phoned|complained|reported|asked|chased|spoken?)\b.{0,24}"
        r"\b(?:three|four|five|six|seven|eight|several|many|multiple|countless|numerous|\d{1,3}) (?:different )?(?:times|people|agents|departments|colleagues)\b",
        r"\b(?:third|fourth|fifth|sixth|3rd|[4-9]th|umpteenth) time\b.{0,20}\b(?:call|contact|writ|ask|email|messag|report|complain|chas|repair|broke|fail|visit)",
        r"\b(?:several|many|multiple|numerous|countless|\d\d?) (?:phone |e-?mail |failed )?(?:calls|e-?mails|messages|complaints|visits|attempts|repairs|letters)\b"
        r".{0,50}\b(?:still|nothing|never|unresolved|no (?:solution|answer|reply|result))\b",
        r"\b(?:again and again|over and over|time and again)\b", r"\b(?:call|called|emailed|written|wrote|asked|chased)\b.{0,12}\bevery (?:single )?(?:day|week|month)\b",
        r"\bpassed (?:on |around )?(?:from|between)\b", r"\bfrom (?:department|pillar) to (?:department|post)\b",
        "(?:多次|好几次|许多次|无数次|数次|几次三番|反复|反覆|一再|再三|三番五次|[三四五六七八九十0-9]次).{0,16}(?:没|未|不|还是|依然|依旧|仍)",
        "(?:第[三四五六七八九十0-9]{1,3}|多|好几|[三四五六七八九十])次.{0,8}(?:报修|维修|投诉|联系|打电话|反映|返修)", "(?:好几|十几|几十|无数|多)(?:个|通|次)?(?:电话|邮件|消息).{0,20}(?:没|未|不)",
        "[三四五六几好]个?(?:部门|客服|人).{0,12}(?:不归|推|不管|没人管|不一样)",
    ),
    _rule(
        44, "complex-long", "Weeks or months without an end", {"category": {"complex": 2}, "matter": {"complaint": 2}, "complaint_type": {"process": 2}},
        r"\b(?:weeks|months|half a year)\b.{0,50}\b(?:still|nothing|no (?:solution|answer|reply|refund|progress)|not (?:solved|resolved|repaired|fixed))\b",
        r"\bstill (?:not |un)(?:solved|resolved|fixed|repaired|settled)\b",
        "(?:[一二两三四五六几半0-9]个?(?:多)?(?:月|周|星期|礼拜)).{0,14}(?:没|未|还没|不).{0,6}(?:解决|处理|结果|答复|回复|退|修好)", "到现在.{0,4}没.{0,4}(?:解决|处理|结果|答复)", "(?:一直|还是|依旧|依然|仍)(?:没|未)(?:有)?(?:解决|处理|修好)",
    ),
    _rule(
        45, "complex-parties", "Several parties point at each other", {"category": {"complex": 4}, "matter": {"complaint": 3}, "complaint_type": {"process": 2}},
        r"\b(?:store|shop|courier|warehouse|manufacturer|installer|fitter|supplier|designer|seller|carrier)s? (?:says?|said|claims?|refuses?|blames?|told me)\b.{0,40}"
        r"\b(?:courier|warehouse|manufacturer|installer|fitter|supplier|store|shop|seller|carrier|designer)s?\b",
        r"\b(?:blam(?:e|es|ing) each other|point(?:s|ing)? (?:the )?fingers?|(?:nobody|no one) (?:takes|wants to take) responsibility|den(?:y|ies|ied) (?:any |all )?(?:responsibility|liability))\b",
        "踢皮球", "推来推去", "推卸责任", "互相(?:推|扯皮)", "扯皮", "(?:厂家|物流|门店|商场|经销商|平台|快递|工厂)说.{0,20}(?:厂家|物流|门店|商场|经销商|平台|快递|工厂)",
    ),
    _rule(
        46, "complex-orders", "Several orders in one muddle", {"category": {"complex": 4}, "matter": {"complaint": 4}},
        r"\b(?:two|three|four|five|several|multiple|both|all|\d) (?:of my |different |my )?orders\b.{0,60}\b(?:mixed|wrong|missing|mistake|refunds?|problem|late|damaged|disappeared|never)\b",
        r"\borders \d{4}.{2,20}\b\d{4}.{0,50}\b(?:mixed|wrong|missing|refunds?|problem|damaged|never)\b", "(?:多个|几个|好几个|[两三四五六]个)订单.{0,20}(?:错|漏|少|退|乱|对不上|问题)",
    ),
    _rule(
        47, "complex-contract", "Contract and liability", {"category": {"complex": 4}},
        r"\bcontracts?\b", r"\b(?:breach(?:ed)?|in breach|liable|liability|penalty clause|terms in your agreement)\b",
        "合同(?!.{0,2}吗)", "违约", "違約", "霸王条款", "协议里", "(?:定金|订金).{0,6}(?:不退|纠纷|退不)", "工期.{0,4}(?:延|拖)", "免责",
    ),
    _rule(
        48, "complex-breach", "Accuses us of breaking the contract", {"matter": {"complaint": 3}, "complaint_type": {"process": 2}},
        r"\bbreach(?:ed)?\b", "违约", "違約", "霸王条款", "(?:定金|订金).{0,6}(?:不退|退不)", "虚假宣传", "欺诈消费者",
    ),
    _rule(
        49, "complex-compensation", "Compensation is to be negotiated", {"category": {"complex": 4}, "matter": {"complaint": 3}},
        r"\bcompensat(?:e|ed|ion)\b(?! (?:policy|rules|scheme))", r"\b(?:claim|claiming|pay(?:ing)? for|cover) (?:the )?(?:damages?|losses|loss)\b", r"\bpay for the (?:repair|damage|cost|whole)\b",
        r"\b(?:goodwill gesture|reimburse me for)\b", r"\bnegotiat\w+", "赔偿", "賠償", "索赔", "补偿", "赔钱", "[退假][一1]赔[三十310]", "理赔", "只赔", "怎么赔",
    ),
    _rule(
        50, "complex-property", "Our people damaged the customer's home",
        {"category": {"complex": 3}, "matter": {"complaint": 3}, "severity": {"major": 3}, "complaint_type": {"service_quality": 3}},
        r"\b(?:fitters?|installers?|technicians?|drivers?|delivery (?:men|team|man|people)|your (?:people|team|men))\b.{0,30}"
        r"\b(?:damaged|ruined|drilled into|destroyed|smashed|scratched|dented) (?:my|our|the|a) (?:\w{1,12} )?(?:floor|wall|parquet|door|pipe|ceiling|car|lift|stairs|tiles|worktop)",
        r"\bdamage to (?:my|our|the) (?:\w{1,15} )?(?:floor|wall|parquet|ceiling|home|house|property)",
        "把.{0,6}(?:地板|墙|地砖|门|电梯|天花板|水管).{0,4}[砸弄刮划撞搞打][坏破花伤爆]", "[砸弄刮划撞损]坏了?.{0,4}(?:地板|墙|地砖|大门|电梯|天花板|水管)",
    ),
    _rule(
        51, "complex-privacy", "Personal data", {"category": {"complex": 4}, "matter": {"service_request": 3}},
        r"\bgdpr\b", r"\bdata (?:subject|protection|breach)\b", r"\b(?:all|delete|erase|copy of)(?: of)?(?: my| the)? (?:personal )?data\b", "个人信息.{0,6}(?:泄|删|导出)", "隐私泄露", "信息泄露",
    ),
    _rule(
        52, "complex-insurance", "An insurer or a bank is part of it", {"category": {"complex": 3}, "matter": {"complaint": 4}},
        r"\b(?:insurer|insurance (?:company|claim))\b", r"\bchargeback\b", r"\bdisput(?:e|ed|ing) the (?:charge|payment)\b", "保险公司", "银行.{0,4}拒付",
    ),
    _rule(
        53, "complex-project", "A project for a business", {"category": {"complex": 3}},
        r"\b(?:hotel|restaurant|office|school|hospital|apartments?|corporate)\b.{0,30}\b\d{2,4} (?:rooms|desks|beds|seats|units|flats|apartments)\b",
        r"\b(?:tender|framework (?:agreement|contract)|staged delivery|fit[- ]out)\b", "框架合同", "工程(?:采购|单|项目)", "(?:酒店|学校|公司|医院|公寓).{0,4}项目", "招标", "批量采购",
    ),
    _rule(
        54, "complex-custom", "A custom build went wrong", {"category": {"complex": 3}, "matter": {"complaint": 3}, "complaint_type": {"process": 2}},
        r"\b(?:custom|made[- ]to[- ]measure|bespoke|fitted|whole[- ]house)\b.{0,30}\b(?:wrong (?:size|measure)|mismeasured|months? late|does ?n'?t fit)\b",
        r"\bordered the wrong (?:cabinets|units|kitchen|doors|parts|size)\b", "(?:全屋|整屋|整装|橱柜)定制.{0,12}(?:错|延|拖|纠纷|不符)",
    ),
    _rule(
        55, "complex-conflicting", "Told different things", {"category": {"complex": 3}, "matter": {"complaint": 3}, "complaint_type": {"process": 2}},
        r"\b(?:every ?one|each (?:one|person|agent)|they all) (?:tells?|says?|told) (?:me )?something (?:else|different)\b", r"\bcontradict\w+", "(?:答复|说法|口径).{0,4}(?:都)?(?:不一样|不一致|矛盾)", "各说各的",
    ),
)  # fmt: skip

_COMPLAINTS: Sequence[RuleData] = (
    _rule(
        60, "complaint-word", "Complains in so many words", _ANGRY,
        r"\bcomplain(?:t|ts|ing|ed)?\b", "投诉", "投訴", "差评", "举报",
    ),
    _rule(
        61, "complaint-anger", "Disappointed or angry", _ANGRY,
        r"\b(?:disappoint(?:ed|ing|ment)|unacceptable|outrageous|disgust(?:ed|ing)|appalling|ridiculous|furious|fed up|shocking service|disgrace(?:ful)?)\b",
        r"\b(?:terrible|awful|horrible|worst|dreadful|lousy)\b", r"\bwaste of (?:money|time)\b", r"\b(?:i'm|i am|we are|very|so|really) (?:annoyed|angry|upset|frustrated)\b",
        r"\bnot (?:at all )?(?:happy|satisfied|acceptable|good enough)\b", "不满", "失望", "太过分", "过分了", "气死", "太气人", "气人", "恶心", "离谱", "垃圾", "坑人", "骗人", "欺骗", "忽悠", "受够", "糟糕", "太差", "不给说法", "嘴脸", "无语",
    ),
    _rule(
        62, "complaint-attitude", "Treated without respect", {"matter": {"complaint": 4}, "complaint_type": {"attitude": 4}},
        r"\b(?:rude|impolite|unfriendly|disrespect\w*|dismissive|arrogant|condescending|hung up on|shouted at|yelled at|laughed at|insult\w*)\b", r"\bignored (?:us|me)\b", r"\b(?:bad|poor|terrible|awful) attitude\b",
        "态度.{0,4}(?:差|恶劣|不好|冷淡|傲慢)", "骂人", "挂(?:了)?我?电话", "不耐烦", "一点都?不耐", "爱理不理", "爱答不理", "没礼貌", "说话.{0,2}(?:很|太)?(?:冲|难听)",
    ),
    _rule(
        63, "complaint-service", "Work badly done", {"matter": {"complaint": 4}, "complaint_type": {"service_quality": 4}},
        r"\b(?:poor|bad|terrible|awful|lousy|worst) (?:customer )?(?:service|experience|job|work)\b", r"\b(?:unprofessional|careless|sloppy|incompetent|left a mess|shoddy)\b", r"\brefused to (?:carry|help|install|deliver|come)\b",
        "服务.{0,4}(?:差|不好|糟|烂|恶劣)", "不专业", "敷衍", "歪歪扭扭", "装得.{0,4}(?:歪|差|乱)", "不负责任?", "野蛮(?:装卸|施工)",
    ),
    _rule(
        64, "complaint-process", "Slow, late or tangled", {"matter": {"complaint": 3}, "complaint_type": {"process": 4}},
        r"\b(?:weeks?|days?|months?) (?:late|overdue)\b", r"\b(?:delayed|late|postponed) (?:again|once more|without)\b", r"\b(?:on hold|in the queue) for (?:.{1,20} )?(?:minutes|hours?)\b",
        r"\b(?:no ?one|nobody) (?:answers?|replie[sd]|told me|responds?|calls? back|picks? up)\b", r"\b(?:too|so|how) slow\b", r"\b(?:never|not) (?:replied|answered|called (?:me )?back|refunded)\b", r"\bwaited (?:for )?(?:half an|an|\d\d?|two|three|over)\b.{0,4}\b(?:hours?|minutes|weeks?)\b",
        "没人(?:管|回|理|接)", "一直不回", "拖(?:了|到|延|着)", "延误", "太慢", "流程.{0,4}(?:麻烦|复杂|乱)", "(?:等了|等)(?:半个?|一个?|两个?|三个?|好几)(?:多)?(?:月|周|星期|小时|天)",
    ),
    _rule(
        65, "complaint-product", "Bad quality", {"matter": {"complaint": 4}, "complaint_type": {"product": 4}},
        r"\b(?:poor|bad|terrible|awful|horrible|cheap|inferior) quality\b", r"\bquality (?:is|was) (?:poor|bad|terrible|awful|a joke)\b", r"\b(?:came off|fell apart|falling apart|peeling|sags?|sagging|rusted|warped|disintegrated)\b.{0,40}\b(?:after|already|in the first|within)\b",
        r"\balready (?:peeling|broken|falling apart|rusty|sagging|cracked)\b", "质量.{0,4}(?:差|问题|不好|不行|不合格|糟)", "有质量问题", "质量有问题", "做工.{0,4}(?:差|粗糙)", "掉皮", "掉漆", "开裂", "裂缝", "假货",
    ),
    _rule(
        66, "defect", "Something is defective", {"matter": {"service_request": 2, "complaint": 1}, "complaint_type": {"product": 3}},
        r"\b(?:defect(?:s|ive)?|faulty|crack(?:s|ed)?|scratch(?:es|ed)?|dent(?:s|ed)?|chipped|warped|wobbl\w+|squeak\w*|stain(?:s|ed)?|broken|broke|damaged|snapped)\b",
        "划痕", "瑕疵", "变形", "异响", "断了", "断裂", "起皮", "发霉", "生锈", "破损", "坏了", "碎了", "裂了",
    ),
    _rule(
        67, "defect-major", "Useless as it is", {"severity": {"major": 3}},
        r"\b(?:completely|totally|entirely) (?:broken|destroyed|smashed|useless|unusable|ruined|shattered)\b", r"\b(?:unusable|beyond repair)\b", "完全(?:不能用|没法用|用不了|坏了|散架)", "散架", "全(?:碎|烂|毁|错|坏)了?",
    ),
)  # fmt: skip

_REQUESTS: Sequence[RuleData] = (
    _rule(
        70, "request-refund", "Refund", _REQUEST,
        r"\brefund(?:s|ed)?\b", r"\bmoney back\b", "退款", "退钱", "退费",
    ),
    _rule(
        71, "request-return", "Return or exchange", _REQUEST,
        r"\b(?:want|like|need|wish|how do i|can i|could i|please)\b.{0,12}\b(?:return|exchange|send back|swap)\b(?! (?:policy|period|window))", r"\bplease exchange\b", r"\b(?:wrong|different) (?:colou?r|size|item|product|model|one)\b", "(?:我要|想|申请|怎么|可以|能|需要)(?:退|换)(?:货|掉|一个|成)?", "换货", "发错", "想把.{0,10}换成",
    ),
    _rule(
        72, "request-replacement", "A missing or spare part", _REQUEST,
        r"\b(?:missing|spare|replacement|new) (?:part|piece|screw|screws|cap|leg|pane|handle|hinge|hinges|door|cover)\b", r"\b(?:is|are|was|were) missing\b", r"\b(?:came|arrived|delivered) with only\b", r"\b(?:would like|need|want|get) (?:a new one|a replacement|a new pane)\b",
        "补(?:发|寄)", "少了", "少发", "漏发", "缺(?:少|件)", "配件", "(?:能|可以|想|怎么)换(?:一|个|新)",
    ),
    _rule(
        73, "request-repair", "Repair", _REQUEST,
        r"\b(?:repair(?:ed|s)?|fix(?:ed)?|mend)\b", r"\b(?:technician|fitter|someone|somebody|engineer) (?:to |can |could )?(?:come|visit|repair|adjust|look|fix)", r"\bsend (?:someone|somebody|a (?:technician|fitter|repairman))\b",
        r"\b(?:stopped working|does ?n'?t (?:work|close|open|turn on)|not working|is (?:loose|jammed|stuck|blocked))\b", "维修", "报修", "返修", "修理", "修一下", "上门修", "派(?:人|师傅)", "师傅.{0,4}上门", "不亮了", "卡住", "松了", "打不开", "拆不下", "失灵",
    ),
    _rule(
        74, "request-booking", "Appointment, installation, measuring", _REQUEST,
        r"\b(?:book|schedule|arrange|reschedule|postpone|rebook|move) (?:an? |my |the |our )?(?:\w{1,15} )?(?:installation|appointment|visit|delivery|assembly|collection|measuring|fitting)\b", r"\b(?:would like|need|want|like) an? appointment\b", r"\bmeasure my\b",
        "预约", "預約", "上门(?:安装|量|测)", "想约", "安装也可以", "改(?:到|成).{0,6}(?:送|装)", "送货时间",
    ),
    _rule(
        75, "request-change", "Change or cancel an order", _REQUEST,
        r"\b(?:change|update|correct|edit) (?:the |my )?(?:\w{1,15} )?(?:address|order|phone number|name|invoice|colou?r)\b", r"\bcancel\b", r"\badd (?:\w{1,12} ){1,3}to my order\b", "取消订单", "取消", "改(?:一下|下)?(?:收货)?地址", "修改(?:地址|订单|电话)", "换地址", "拍错",
    ),
    _rule(
        76, "request-invoice", "Invoice", _REQUEST,
        r"\b(?:send|need|get|issue|want|resend)\b.{0,12}\b(?:an? |the |my )(?:vat )?(?:invoice|receipt|statement)\b", "(?:帮我|麻烦|需要|给我)(?:重?开|补开).{0,4}(?:发票|专票|增值税)?",
    ),
    _rule(
        77, "request-account", "Account and personal settings", _REQUEST,
        r"\b(?:forgot|reset|lost) (?:my )?password\b", r"\bcan(?:'t|not) (?:log|sign) in\b", r"\b(?:unsubscribe|remove my|delete my|marketing list|mailing list)\b", "忘记密码", "登录不(?:了|上)", "注销", "退订",
    ),
    _rule(
        78, "request-dispatch", "Asks for help on the spot", {"matter": {"service_request": 2}},
        r"\b(?:please )?(?:help|send help|call me|call us|call now|need (?:some|any)one|what should (?:i|we) do)\b", "怎么办", "快来人", "派人来", "帮(?:我|忙)?.{0,2}处理", "处理一下", "能.{0,2}来吗", "必须送", "等着用", "尽快(?:发|送|安排)", "催(?:一下)?发货", "寄给我", "补漆",
    ),
    _rule(
        79, "request-urgent", "Urgent, and so more than a question", {"matter": {"service_request": 2}},
        r"^\W*urgent", r"\burgently\b", r"\b(?:need|must have) (?:the|it|my|a)\b.{0,20}\b(?:before|by|today|tomorrow)\b", "加急", "紧急[!！]", "(?:很|特别|非常)急", "很着急", "十万火急",
    ),
)  # fmt: skip

_FEEDBACK: Sequence[RuleData] = (
    _rule(
        80, "feedback-praise", "Praise", {"matter": {"feedback": 4}},
        r"\b(?:excellent|fantastic|brilliant|wonderful|amazing|superb|outstanding) ?(?:service|job|work|experience|team|support|staff)?\b", r"\blooks (?:great|fantastic|lovely|beautiful)\b", r"\b(?:i|we) (?:really )?love\b", r"\bwell done\b", r"\b(?:five|5) stars?\b",
        r"\b(?:great|good|friendly|lovely|quick|perfect) (?:service|job|work|drivers?|staff|delivery|team|experience)\b", r"\b(?:very|so|really) (?:helpful|friendly|kind|pleased|happy with)\b", r"\bin perfect condition\b", r"\bwas lovely\b",
        "点赞", "表扬", "好评", "(?:非常|很|特别|十分)满意", "很(?:专业|有耐心|舒服|漂亮|贴心)", "服务(?:很|非常|特别|真)(?:好|棒|周到)", "下次还(?:会)?(?:来|买)",
    ),
    _rule(
        81, "feedback-suggestion", "Suggestion", {"matter": {"feedback": 4}},
        r"\bsuggest(?:ion|ions|ing)?\b", r"\b(?:it )?would be (?:nice|great|good|helpful) (?:if|to have)\b", r"\b(?:you should|you could) (?:really )?(?:add|offer|consider|have)\b", r"\bjust an idea\b", r"\bsome feedback\b",
        "建议你", "建议.{0,8}(?:增加|改|写|多|加)", "希望(?:你们)?(?:能|可以)?.{0,4}(?:改进|多出|增加|推出)", "提个?意见", "提个建议",
    ),
    _rule(
        82, "feedback-thanks", "Thanks", {"matter": {"feedback": 1}},
        r"\bthank(?:s| you) (?:so much|very much|for (?:the|your))", "感谢", "谢谢你们",
    ),
)  # fmt: skip

_ENQUIRIES: Sequence[RuleData] = (
    _rule(
        90, "enquiry-delivery", "Where the order is", _QUESTION,
        r"\bwhere is my (?:order|parcel|delivery|package)\b", r"\b(?:when|how long)\b.{0,16}\b(?:deliver(?:y|ed)|arrive|ship|back in stock|dispatched)\b", r"\btracking\b", "到哪", "什么时候(?:发货|到货|送|能到)", "多久(?:能)?(?:到|发)",
    ),
    _rule(
        91, "enquiry-product", "Sizes, colours, materials, stock", _QUESTION,
        r"\b(?:do|does|is|are) (?:you|the|this|it|these)\b.{0,30}\b(?:have|in stock|available|come (?:in|with)|fit|contain|sell|solid|safe|resistant|retardant)\b", r"\bwhat (?:size|colou?r|material|is the (?:size|price|difference|warranty|maximum))\b", r"\bdimensions\b",
        "尺寸(?:是)?多少", "什么材质", "几种颜色", "有货", "还有.{0,4}(?:货|活动)", "承重", "含量", "防火吗", "会不会",
    ),
    _rule(
        92, "enquiry-price", "Price and payment", _QUESTION,
        r"\b(?:price|cost|how much|discount|instal?lments|voucher|special offer|offer still)\b", "多少钱", "优惠", "分期", "折扣", "价格", "收费", "活动吗",
    ),
    _rule(
        93, "enquiry-store", "Shops and hours", _QUESTION,
        r"\bopening (?:hours|times)\b", r"\b(?:nearest|closest) (?:store|shop|branch)\b", r"\bwhere (?:is|are) (?:your|the) (?:store|shop|showroom)", "几点(?:开|关)门", "营业时间", "(?:门店|店铺|展厅)?地址在", "几点营业",
    ),
    _rule(
        94, "enquiry-howto", "How to use or care for it", _QUESTION,
        r"\bhow (?:do|can|should) (?:i|we) (?:clean|care|assemble|use|wash|treat|mount)\b", r"\b(?:instructions|manual)\b.{0,20}\b(?:download|find|get)\b", "怎么(?:保养|清洁|清洗|使用|组装|安装)", "需要自己组装",
    ),
    _rule(
        95, "enquiry-policy", "Terms and policies", _QUESTION,
        r"\b(?:what is|what's) your .{0,20}policy\b", r"\bwarranty period\b", r"\b(?:is|are) .{0,20}under warranty\?", "保修期.{0,2}(?:是|几)", "无理由退货.{0,4}(?:怎么|多久|几)", "可以开发票吗",
    ),
    _rule(
        96, "fact-warranty", "Says that it is under warranty", {"warranty": {"yes": 1}},
        r"\b(?:still |is |are )?(?:under|within|in) (?:the )?(?:warranty|guarantee)\b", r"\bwarranty (?:claim|repair)\b", "(?:在|还在|仍在)?保修期?内", "质保期内",
    ),
    _rule(
        97, "fact-no-warranty", "Says that the warranty has ended", {"warranty": {"no": 2}},
        r"\b(?:out of|no longer under|after the) (?:warranty|guarantee)\b", r"\bwarranty (?:has )?(?:expired|ended|ran out)\b", "过(?:了)?保(?:修期?)?(?:了)?", "(?:出|超)(?:了)?保修期?",
    ),
)  # fmt: skip

DEFAULT_RULES: Sequence[RuleData] = (*_SAFETY, *_URGENT, *_COMPLEX, *_COMPLAINTS, *_REQUESTS, *_FEEDBACK, *_ENQUIRIES)

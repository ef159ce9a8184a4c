#!/usr/bin/python3
"""options.py - the table of URL options in docs/url.md and its translation, from the code.

    tools/options.py            fails when a document differs from src/addr/option.c
    tools/options.py --write    writes the tables again

What a key means is written here, once in each language; everything else is read from the code.

SPDX-License-Identifier: MIT
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TABLE = re.compile(r"(<!-- options -->\n).*?(<!-- /options -->)", re.S)
CONSTANTS = {"KIB": 1 << 10, "MIB": 1 << 20, "SIZE_TOP": 1 << 40, "MS_TOP": 365 * 86400000,
             "COUNT_TOP": (1 << 31) - 1, "KEEPALIVE_TOP": 32767, "PROBES_TOP": 127, "TTL_TOP": 255,
             "ACCEPTS_TOP": 1000000,
             "OUTLET_OFF": -1, "OUTLET_ON": 1, "OL_DATAGRAM_MAX": 65507, "OL_FDS_MAX": 64,
             "OUTLET_FULL_REFUSE": 1, "OUTLET_FULL_CLOSE": 4, "true": True, "false": False}

PACKET_MAX = 262144  # OL_PACKET_MAX, which the table cannot show

MEANING = {
    "frame": ("where messages begin and end: [framing](framing.md)",
              "消息的起止：见[分帧](framing.zh-CN.md)"),
    "max": ("bytes of a message, in both directions; no limit on a stream with `frame=none`",
            "一条消息的字节数，收发都适用；`frame=none` 的字节流不受此限"),
    "connect_ms": ("to connect, all addresses of the name together", "建立连接的时限，一个名字的所有地址合计"),
    "handshake_ms": ("for the handshakes after connecting; no scheme of this version has one",
                     "连接之后握手的时限；本版本的方案都没有握手"),
    "idle_ms": ("nothing was received or sent", "没有任何收发"),
    "partial_ms": ("a message began and did not end", "一条消息开始了却没有结束"),
    "stall_ms": ("the peer takes nothing of what is queued", "对端完全不取走排队的数据"),
    "flush_ms": ("after a close: to send what is queued and see the peer's end",
                 "关闭之后：发完排队的数据并等到对端结束"),
    "high": ("queued bytes above which `on_writable` is owed", "排队字节超过它，之后就会有一次 `on_writable`"),
    "low": ("queued bytes at or below which it comes", "排队字节降到它或更低时触发 `on_writable`"),
    "cap": ("queued bytes above which `full` decides", "排队字节超过它时由 `full` 决定"),
    "full": ("at `cap`: refuse the send, drop the new message, drop the oldest, or close",
             "到达 `cap` 时：拒绝发送、丢弃新消息、丢弃最旧的消息，或关闭连接"),
    "half_open": ("the peer's end does not close our side", "对端结束发送时，我方不随之关闭"),
    "nodelay": ("small messages leave at once (TCP_NODELAY)", "小消息立即发出（TCP_NODELAY）"),
    "backlog": ("clients waiting to be accepted; the system may lower it", "等待接受的客户端数；系统可能会调低"),
    "conns": ("connections of the listener at once", "监听器同时存在的连接数"),
    "conns_per_address": ("of these, from one IP address", "其中来自同一 IP 地址的连接数"),
    "accepts_per_second": ("clients taken in a second by the whole listener; udp: new peers",
                           "整个监听器每秒接受的客户端数；udp 为新对端数"),
    "allow": ("an address or prefix that may come in, then others may not; the key may be repeated",
              "允许进入的地址或前缀，其余的则不允许；可重复给出"),
    "deny": ("an address or prefix that may not come in; the key may be repeated",
             "不允许进入的地址或前缀；可重复给出"),
    "fds": ("descriptors that may come with a message: `outlet_send_fd()`, `outlet_msg_fd()`",
            "一条消息可以附带的描述符数：`outlet_send_fd()`、`outlet_msg_fd()`"),
    "mode": ("permissions of the socket's path", "套接字路径的权限"),
    "reuse": ("other processes of this user that say the same share the port (SO_REUSEPORT)",
              "同一用户的其他进程若也这样写，就共用这个端口（SO_REUSEPORT）"),
    "keepalive_s": ("seconds of silence after which the system asks the peer whether it is there "
                    "(TCP_KEEPIDLE)",
                    "静默多少秒后由系统探问对端是否还在（TCP_KEEPIDLE）"),
    "keepalive_interval_s": ("seconds between such questions (TCP_KEEPINTVL)",
                             "两次探问之间的秒数（TCP_KEEPINTVL）"),
    "keepalive_probes": ("questions without an answer, then the peer is gone (TCP_KEEPCNT)",
                         "探问多少次没有应答就认为对端已消失（TCP_KEEPCNT）"),
    "user_timeout_ms": ("what was sent must be acknowledged by then (TCP_USER_TIMEOUT)",
                        "发出的数据须在此时限内得到确认（TCP_USER_TIMEOUT）"),
    "dscp": ("class of traffic, a number or a name: `ef`, `af41`, `cs1`, `va`, `le`",
             "流量类别，数字或名字：`ef`、`af41`、`cs1`、`va`、`le`"),
    "device": ("only through this network device (SO_BINDTODEVICE)", "只经由此网络设备（SO_BINDTODEVICE）"),
    "local": ("to connect from: an address, a port or both: `192.0.2.7`, `:9000`, `[::1]:9000`",
              "从哪里发起连接：地址、端口或两者：`192.0.2.7`、`:9000`、`[::1]:9000`"),
    "interface": ("through which groups are joined and sent to: name, number or an address of it",
                  "加入组播组、向组发送所用的网络接口：名字、编号或它的某个地址"),
    "source": ("of a group, only what this address sends to it is heard (source-specific "
               "multicast)",
               "对组播组，只听这个地址发往该组的内容（指定源组播）"),
    "ttl": ("hops that what is sent to a group may go", "发往组播组的数据报最多经过几跳"),
    "loop": ("this computer hears what it sends to a group, too", "本机也能听到自己发往组播组的数据报"),
    "broadcast": ("broadcast addresses may be sent to (SO_BROADCAST)",
                  "允许向广播地址发送（SO_BROADCAST）"),
}
TEXTS = {"interface": ("the system chooses", "由系统选择"), "source": ("everyone", "任何人"),
         "device": ("any", "任意"), "local": ("the system chooses", "由系统选择")}
SYSTEMS = {"keepalive_interval_s": "75", "keepalive_probes": "9", "dscp": None}
WORDS = {
    "en": {"head": ("key", "is", "default", "takes", "where"), "all": "everywhere",
           "nobody": "nowhere yet", "LISTEN": "listening", "CONNECT": "connecting", "join": ", ",
           "limit": "descriptor limit less 64", "umask": "as umask says",
           "system": "as the system says: {}", "none": "none", "up to": "up to {}", "text": "text",
           "everyone": "everyone", "nobody denied": "nobody",
           "prefix": "`192.168.1.7`, `10.0.0.0/8`, `2001:db8::/32`",
           "listen": "listening", "connect": "connecting", "or off": ", `off`"},
    "zh": {"head": ("键", "含义", "默认值", "取值", "适用"), "all": "全部", "nobody": "暂无",
           "LISTEN": "监听时", "CONNECT": "连接时", "join": "、", "limit": "描述符上限减 64",
           "umask": "由 umask 决定", "system": "由系统决定：{}", "none": "无", "up to": "不超过 {}",
           "text": "文本", "everyone": "所有人", "nobody denied": "无",
           "prefix": "`192.168.1.7`、`10.0.0.0/8`、`2001:db8::/32`", "listen": "监听", "connect": "连接",
           "or off": "、`off`"},
}


def rows():
    """Each option as (key, type, greatest, may_off, schemes, roles, four defaults)."""
    text = (ROOT / "src/addr/option.c").read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    table = text[text.index("ol_options[OL_OPTIONS] = {"):]
    for m in re.finditer(r"\bROW(?:_EACH)?\(((?:[^()]|\([^()]*\))*)\)", table[:table.index("};")]):
        cells = re.split(r",(?![^(]*\))", m.group(1))
        cells = [" ".join(c.split()) for c in cells]
        each = re.fullmatch(r"EACH\((.*)\)", cells[7])
        defaults = [each.group(1)] * 4 if each else cells[7:]
        yield (cells[1], cells[2], number(cells[3]), number(cells[4]), set(cells[5].split(" | ")),
               cells[6], [number(d) for d in defaults])


def number(text):
    """The value of a constant expression of the table."""
    if re.fullmatch(r"0[0-7]+", text):
        return int(text, 8)
    value = 1
    for factor in text.split(" * "):
        value *= CONSTANTS[factor] if factor in CONSTANTS else int(factor)
    return value


def shown(kind, value):
    """A number as it is written in a URL."""
    if value == -1:
        return "`off`"
    if kind == "SWITCH":
        return "`on`"
    if kind == "FULL":
        return "`refuse`"
    if kind == "MODE":
        return f"`{value:04o}`"
    if kind == "SIZE":
        for unit, size in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
            if value % size == 0:
                return f"`{value // size}{unit}`"
    if kind == "MS":
        return f"`{value // 1000}s`" if value % 1000 == 0 else f"`{value}ms`"
    return f"`{value}`"


def default(words, key, kind, values):
    """One default, or one for each role, and for udp."""
    if key == "frame":
        return "`none`"
    if key == "mode":
        return words["umask"]
    if key in TEXTS:
        return TEXTS[key][words is WORDS["zh"]]
    if key in SYSTEMS:
        return words["system"].format(f"`{SYSTEMS[key]}`") if SYSTEMS[key] else words["none"]
    if kind == "LIST":
        return words["everyone"] if key == "allow" else words["nobody denied"]
    listen, listen_udp, connect, connect_udp = (shown(kind, v) for v in values)
    if key == "max":
        return f"{listen}; udp: {listen_udp}; unix-seqpacket, unix-dgram: {shown(kind, PACKET_MAX)}"
    if key == "conns":
        return f"{words['limit']}; udp, unix-dgram: {listen_udp}"
    if listen == listen_udp == connect == connect_udp:
        return listen
    if (listen, listen_udp) == (connect, connect_udp):
        return f"{listen}; udp, unix-dgram: {listen_udp}"
    if connect != connect_udp:
        sys.exit(f"{key}: a default that this table cannot show")
    return (f"{words['listen']}: {listen}, udp, unix-dgram: {listen_udp}; "
            f"{words['connect']}: {connect}")


def takes(words, kind, most, may_off):
    """The syntax of a value."""
    text = {"FRAME": "", "LIST": words["prefix"], "TEXT": words["text"], "SWITCH": "`on`",
            "FULL": "`refuse`" + "".join(f"{words['join']}`{v}`"
                                        for v in ("drop_new", "drop_old", "close"))}.get(kind)
    if text is None:
        text = words["up to"].format(shown(kind, most))
    return text + (words["or off"] if may_off and text else "")


def where(words, schemes, roles):
    """The schemes and the role that honour it."""
    names = {"STREAMS": ["tcp", "unix", "pair", "fd"], "ALL": [], "PACKET": ["unix-seqpacket"],
             "LOCAL": ["unix-dgram"]}
    if schemes == {"NOBODY"}:
        return words["nobody"]
    listed = [n for s in ("TCP", "UNIX", "UDP", "PAIR", "STREAMS", "PACKET", "LOCAL", "FD")
              if s in schemes for n in names.get(s, [s.lower()])]
    parts = [" ".join(listed)] if listed else []
    if roles != "BOTH":
        parts.append(words[roles])
    return words["join"].join(parts) or words["all"]


def table(lang):
    """The whole table in one language."""
    words = WORDS[lang]
    lines = ["| " + " | ".join(words["head"]) + " |", "|" + "---|" * len(words["head"])]
    for key, kind, most, may_off, schemes, roles, values in rows():
        if key not in MEANING:
            sys.exit(f"tools/options.py does not say what `{key}` means")
        lines.append("| " + " | ".join((
            f"`{key}`", MEANING[key][lang == "zh"], default(words, key, kind, values),
            takes(words, kind, most, may_off), where(words, schemes, roles))) + " |")
    return "\n".join(lines).replace("|  |", "| |") + "\n"


def main(argv):
    """Check or write."""
    wrong = 0
    for name, lang in (("docs/url.md", "en"), ("docs/url.zh-CN.md", "zh")):
        path = ROOT / name
        text = path.read_text(encoding="utf-8")
        new, count = TABLE.subn(lambda m, t=table(lang): m.group(1) + t + m.group(2), text)
        if count != 1:
            sys.exit(f"{name} has {count} places for the table")
        if new != text and argv == ["--write"]:
            path.write_text(new, encoding="utf-8")
        elif new != text:
            print(f"{name} differs from src/addr/option.c: tools/options.py --write")
            wrong = 1
    return wrong


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

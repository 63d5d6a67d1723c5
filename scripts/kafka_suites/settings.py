"""What real Java makes of files of settings, of logins, and which settings Kafka's own client has; files that people have.

`cargo test` compares our reading with the answers kept in tests/golden/java_client.ndjson, and needs no Java. This suite
asks Java again, and fails where an answer differs. With REWRITE=1 it writes the file. Then `check` opens a real broker with
files as consoles, Java and editors write them.
"""
import json
import os
import random
import subprocess

from crash_suites import rig as rigs
from kafka_suites import rig as kafka

GOLDEN = os.path.join(rigs.ROOT, "tests", "golden", "java_client.ndjson")
# Pieces that decide something. A lone byte e9 is no UTF-8, which Java would read otherwise than we do.
PIECES = [b"a", b"bc", b"=", b":", b" ", b"\t", b"\f", b"#", b"!", b"\\", b"\\\\", b"\n", b"\r", b"\r\n", b"\\\n", b"\\\r\n", b"\\n", b"\\u0041",
          b"\\u00e9", b"\\u20ac", b"\\u12", b"\\:", b"\\=", b"\\ ", b"\xe9", b"\"", b"'"]
FILES = [b"", b"a=b", b"a:b", b"a b", b"a", b"a=", b"=b", b" a = b ", b"a = b \\\n  c", b"# c \\\na=b", b"!c\na=b", b"a\\=b=c", b"a\\ b c", b"a=1\na=2",
         b"bootstrap.servers=127.0.0.1\\:9092", b"p=C:\\temp\\new", b"a==b", b"a:=b", b"a = : b", b"a\t:\f b", b"a=\\\n\nb=c", b"a=b\\", b"a=b\\\\",
         b"a=\xe9", b"a=\\u00E9\\u20ac", b"a=\\u00g0", b"a=\\ud83d\\ude00", b"\\\n#x\na=b", b"a=b\rc=d", b"a=b\r\n\r\nc=d", b"a = 1 # no comment", b"fruits apple, \\\n    pear"]
MODULE = "org.apache.kafka.common.security.scram.ScramLoginModule"
# What stands between quotes, and what without.
QUOTED = ["a", " ", "b=c;", "\\\"", "\\'", "\\\\", "\\n", "\\101", "\\478", "\\0", "/", "//", "/*", "é", "\\u0041", "7"]
BARE = ["a", "b7", "-", "_", ".", "$", "é", "/", "@", "7", "+", "=", "\\", "/* c */", "// c\n"]
LOGINS = [f"{MODULE} required username=\"u\" password=\"p\";", f"{MODULE} required username='u' password='p' ;", f"{MODULE} required username=u password=p;",
          f"{MODULE} REQUIRED username=u password=\"a\\\"b\\\\c\\n\";", f"{MODULE} required username=u password=\"p\"", f"{MODULE} required password=\"p\";",
          f"{MODULE} username=u password=p;", f"{MODULE} required username=u password=1p;", f"{MODULE} required username=u password=p1.x-y_z$;",
          f"{MODULE} required username=u password=p; {MODULE} required;", f"{MODULE} optional\n  username=\"u\" // who\n  password=\"p/w\" /* how */;",
          f"{MODULE} required username=u password=p@q;", f"{MODULE} required username=u password=\"\\u0041\";", f"{MODULE}", "", ";",
          f"{MODULE} required username=\"\" password=\"\";", f"{MODULE} sufficient x=y username=u password=p tokenauth=\"false\";"]


# The address of the broker stands for BROKER and, with the colon escaped, for ESCAPED.
TAKEN = {
    "hosted": (b"# as a console gives it\nbootstrap.servers=BROKER\nclient.dns.lookup=use_all_dns_ips\nsession.timeout.ms=45000\nacks=all\nclient.id=ccloud-0\n"
               b"schema.registry.url=https://registry.invalid\nbasic.auth.credentials.source=USER_INFO\nbasic.auth.user.info=KEY:SECRET\n",
               {"session.timeout.ms", "schema.registry.url", "basic.auth.credentials.source", "basic.auth.user.info"}),
    "stored": (b"#Mon Aug 12 13:50:56 UTC 2024\nbootstrap.servers=ESCAPED\nclient.id=a\\=b\n", set()),
    "marked": (b"\xef\xbb\xbfbootstrap.servers=BROKER\r\n", set()),
    "latin1": (b"! caf\xe9\nbootstrap.servers : BROKER\nclient.id = caf\xe9 \\\n  au lait\nvalue.deserializer=X", {"value.deserializer"}),
}


def options(parser):
    parser.add_argument("--files", type=int, default=250, help="random files and half as many logins (default 250)")


def requests(count):
    rng = random.Random(6)
    files = FILES + [b"".join(rng.choice(PIECES) for _ in range(rng.randint(1, 14))) for _ in range(count)]
    # What is UTF-8 beyond ASCII is read as such here, and as Latin-1 by Java.
    yield from ({"file": data.hex()} for data in files if data.isascii() or not is_utf8(data))
    yield from ({"login": text} for text in LOGINS)
    for _ in range(count // 2):
        yield {"login": f"{MODULE} required username={value(rng)}{rng.choice([' ', '  ', chr(9), chr(10), ''])}password={value(rng)};"}
    yield {"names": True}


def value(rng):
    quote = rng.choice(["\"", "'", ""])
    return quote + "".join(rng.choice(QUOTED if quote else BARE) for _ in range(rng.randint(1, 4))) + quote


def is_utf8(data):
    try:
        data.decode()
        return True
    except UnicodeDecodeError:
        return False


def check(rig, broker, name, data, expected):
    """`check` takes a file, and lists what it does not take as it is."""
    escaped = broker.address.replace(":", "\\:").encode()
    path = os.path.join(rig.folder, f"{name}.properties")
    with open(path, "wb") as file:
        file.write(data.replace(b"BROKER", broker.address.encode()).replace(b"ESCAPED", escaped))
    command = [rig.binary, "check", "turnstile", "--source", "kafka:", "--topic", "checked", "--kafka-config", path, "--lake", rig.path("checked"), "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise kafka.Failed(f"check of {name} ended with {done.returncode}\n{done.stderr}")
    found = [notice["name"] for notice in json.loads(done.stdout)["notices"]]
    if sorted(found) != sorted(expected) or "SECRET" in done.stdout + done.stderr:
        raise kafka.Failed(f"check of {name} lists {found}\n{done.stdout}")


def suite(rig, args, broker):
    broker.ask("create", topic="checked", partitions=1)
    for name, (data, expected) in TAKEN.items():
        check(rig, broker, name, data, expected)
    jars = subprocess.run([kafka.KAFKA, "jars"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "Settings.java")
    asked = "".join(json.dumps(request, ensure_ascii=False) + "\n" for request in requests(args.files))
    java = subprocess.run(["java", "-Xmx128m", "-cp", os.path.join(jars, "*"), source], input=asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                          encoding="utf-8", check=False)
    answers = java.stdout.splitlines()
    if java.returncode != 0 or len(answers) != asked.count("\n"):
        raise kafka.Failed(f"Java answered {len(answers)} of {asked.count(chr(10))} requests, and ended with {java.returncode}")
    if "REWRITE" in os.environ:
        with open(GOLDEN, "w", encoding="utf-8") as file:
            file.write(java.stdout)
    with open(GOLDEN, encoding="utf-8") as file:
        kept = file.read().splitlines()
    for number, (now, before) in enumerate(zip(answers, kept), 1):
        if now != before:
            raise kafka.Failed(f"Java answers otherwise than line {number} of {GOLDEN}:\n  {before}\n  {now}")
    if len(kept) != len(answers):
        raise kafka.Failed(f"{GOLDEN} has {len(kept)} lines, and Java answered {len(answers)} times")
    return len(answers) + len(TAKEN), {"refused": sum('"answer":null' in answer for answer in answers)}

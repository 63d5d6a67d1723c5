"""TLS, SASL PLAIN and SASL SCRAM over TLS, really connected; and what a password may be found in.

The job reads a topic through each of them, and `produce` writes one. A wrong password and a certificate that nobody
vouches for are refused with exit code 3, in time, with the broker's name. The password must not be in the arguments of
the process, in its log (at its most talkative), in any file of the lake, nor in what status says.

It wants a binary built with: cargo build --features kafka-tls
"""
import glob
import gzip
import json
import os
import secrets
import subprocess
import time

from kafka_suites import rig as kafka

USER = "headway-reader"
REFUSED_MAX = 20


def options(parser):
    parser.add_argument("--messages", type=int, default=6_000, help="messages of the topic (default 6000)")


def properties(rig, name, lines):
    path = os.path.join(rig.folder, f"{name}.properties")
    with open(path, "w", encoding="utf-8") as file:
        os.chmod(path, 0o600)
        file.write("# as kcat and the Java tools take it\n" + "".join(f"{line}\n" for line in lines))
    return path


def found_in(folder, secret):
    """Files below a folder that hold the secret, packed ones unpacked."""
    paths = [path for path in glob.glob(os.path.join(folder, "**"), recursive=True) if os.path.isfile(path)]
    for path in paths:
        with (gzip.open if path.endswith(".gz") else open)(path, "rb") as file:
            if secret.encode() in file.read():
                return path
    return None


def refused(rig, config, secret, address):
    lake, began = rig.path("refused"), time.monotonic()
    run = rig.job(None, "secure", lake, config=config)
    code, said = rig.finish(run), run.said()
    if code != 3 or f'broker "{address}"' not in said or time.monotonic() - began > REFUSED_MAX:
        raise kafka.Failed(f"a start that must be refused ended with {code} after {time.monotonic() - began:.1f} s\n{said}")
    if secret in said:
        raise kafka.Failed("a refusal shows the password")
    return said


def suite(rig, args, _broker):
    secret, user = secrets.token_hex(16), os.path.join(rig.folder, "user")
    with open(user, "w", encoding="utf-8") as file:
        os.chmod(user, 0o600)
        file.write(f"{USER}:{secret}\n")
    broker = rig.broker("secured", ("--secure", user))
    ports = {}
    for name in ("ssl", "sasl"):
        with open(os.path.join(broker.folder, f"port.{name}"), encoding="utf-8") as file:
            ports[name] = f"127.0.0.1:{int(file.read())}"
    ca = f"ssl.ca.location={broker.folder}/ca.pem"
    tls = [f"bootstrap.servers={ports['ssl']}", "security.protocol=SSL", ca]
    sasl = [f"bootstrap.servers={ports['sasl']}", "security.protocol=SASL_SSL", ca, f"sasl.username={USER}"]
    ways = {"tls": tls}
    for mechanism in ("PLAIN", "SCRAM-SHA-512"):
        ways[mechanism.lower()] = [*sasl, f"sasl.mechanism={mechanism}", f"sasl.password = {secret}"]
    # As Kafka's Java tools write it.
    module = "org.apache.kafka.common.security.scram.ScramLoginModule"
    ways["java"] = [f"bootstrap.servers={ports['sasl']}".replace(":", "\\:"), "security.protocol: SASL_SSL", "ssl.truststore.type=PEM",
                    f"ssl.truststore.location={broker.folder}/ca.pem", "sasl.mechanism=SCRAM-SHA-512",
                    f'sasl.jaas.config={module} required \\\n  username="{USER}" \\\n  password=\'{secret}\';']
    todo = kafka.envelopes_of(rig.capture(args.seed * 1000 + 70, args.messages))
    broker.ask("create", topic="secure", partitions=4)
    rig.write(broker, "secure", "secure", todo).result()
    figures = {}
    for name, lines in ways.items():
        config, lake = properties(rig, name, lines), rig.path("secure")
        run = rig.job(broker, "secure", lake, "--group", "secure", config=config, env={"RUST_LOG": "trace"})
        with open(f"/proc/{run.child.pid}/cmdline", "rb") as file:
            arguments = file.read()
        kafka.wait_for("the commit of all records", lambda lake=lake: kafka.consumed(lake) == len(todo), run)
        status = subprocess.run([rig.binary, "status", "--lake", lake, "--kafka-config", config, "-o", "json"], capture_output=True, text=True, check=True)
        if any(part["lag"] != 0 for part in json.loads(status.stdout)["inputs"][0]["partitions"]):
            raise kafka.Failed(f"{name}: {status.stdout}")
        rig.drain(run)
        # Everything the run left is in the folder above the lake: its log, too.
        where = found_in(os.path.dirname(lake), secret)
        if where or secret.encode() in arguments or secret in status.stdout + status.stderr:
            raise kafka.Failed(f"the password is in {where or 'the arguments, or what status says'}")
        rig.close_windows(broker, "secure", lake)
        figures[name] = rig.verify_topic(broker, "secure", lake)[0]["written"]
    # What would be missed if it looked in the wrong place: the file that does hold it.
    if not found_in(rig.folder, secret):
        raise kafka.Failed("the password is in no file at all: this check would not find it")
    wrong = properties(rig, "wrong", [*sasl, "sasl.mechanism=SCRAM-SHA-512", f"sasl.password={secret[::-1]}-wrong"])
    figures["wrong_password"] = "SASL" in refused(rig, wrong, secret[::-1], ports["sasl"])
    stranger = properties(rig, "stranger", [line for line in tls if line != ca])
    figures["unknown_certificate"] = "certificate" in refused(rig, stranger, secret, ports["ssl"])
    made = subprocess.run([rig.binary, "produce", "turnstile", "--to", "kafka:", "--kafka-config", properties(rig, "made", ways["plain"]), "--topic", "secure",
                           "--messages", "1000", "--partitions", "4"], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise kafka.Failed(f"produce ended with {made.returncode}\n{made.stderr}")
    if not figures["wrong_password"] or not figures["unknown_certificate"]:
        raise kafka.Failed(f"a refusal does not say why: {figures}")
    return len(ways) + 3, figures

"""Reads compose.yaml, the Dockerfile and the board for Grafana as those would who run them, as far as that needs none of them: every
file and name that is referred to is there, and what one file says of another is so. Prints the expressions of the board as rules, for
promtool.

    python scripts/deploy/shapes.py RULES
"""
import json
import os
import re
import shlex
import sys

import yaml

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))

# What a service of Compose may have, and with which type. Anything else is a slip: Compose refuses it, too.
SERVICE = {
    "image": str, "build": dict, "ports": list, "healthcheck": dict, "network_mode": str, "depends_on": dict,
    "entrypoint": list, "command": list, "volumes": list, "read_only": bool, "cap_drop": list, "security_opt": list,
    "stop_grace_period": str, "restart": str, "profiles": list, "environment": dict,
}
CONDITIONS = ["service_started", "service_healthy", "service_completed_successfully"]
RESTARTS = ["no", "always", "on-failure", "unless-stopped"]
INSTRUCTIONS = ["FROM", "RUN", "WORKDIR", "COPY", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "USER"]


class Wrong(Exception):
    """What is wrong with a file."""


def demand(is_so, what):
    if not is_so:
        raise Wrong(what)


def load(name):
    with open(os.path.join(HERE, name), encoding="utf-8") as file:
        return file.read()


def service(name, found, everything):
    for key, value in found.items():
        demand(key in SERVICE, f"service {name} has \"{key}\", which is not known")
        demand(isinstance(value, SERVICE[key]), f"{key} of service {name} is {value!r}")
    demand("image" in found, f"service {name} has no image")
    image = found["image"]
    demand(image == "headway" or re.fullmatch(r"[a-z/]+:[v\d][\d.]*", image), f"the image {image} has no fixed version")
    demand(str(found.get("restart", "no")) in RESTARTS, f"service {name} restarts {found.get('restart')!r}")
    for other, how in found.get("depends_on", {}).items():
        demand(other in everything["services"], f"service {name} depends on {other}, which is not there")
        condition = how["condition"]
        demand(condition in CONDITIONS, f"service {name} depends on {other} with {condition}")
        other = everything["services"][other]
        demand(condition != "service_healthy" or "healthcheck" in other, f"what {name} waits for has no health check")
    shared = re.fullmatch(r"service:(\w+)", found.get("network_mode", ""))
    demand("network_mode" not in found or shared and shared[1] in everything["services"], f"the network of {name}")
    demand(not (shared and "ports" in found), f"service {name} shares a network: its ports belong to the other one")
    for port in found.get("ports", []):
        demand(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port), f"port {port} of {name} is open to others")
    for volume in found.get("volumes", []):
        source = volume.split(":")[0]
        is_file = source.startswith("./") and os.path.isfile(os.path.join(HERE, source))
        demand(is_file or source in everything["volumes"], f"volume {volume} of {name} is not there")
        demand(not is_file or volume.endswith(":ro"), f"volume {volume} of {name} could be written")


def compose():
    everything = yaml.safe_load(load("compose.yaml"))
    demand(set(everything) == {"services", "volumes"}, f"compose.yaml has {sorted(everything)}")
    services = everything["services"]
    demand({"kafka", "job", "prometheus", "grafana"} <= set(services), f"the services are {sorted(services)}")
    for name, found in services.items():
        service(name, found, everything)
    build = services["job"]["build"]
    context = os.path.normpath(os.path.join(HERE, build["context"]))
    demand(context == TOP and os.path.isfile(os.path.join(context, build["dockerfile"])), f"the image is built by {build}")
    # One network: the job, its scraper and the board's source must mean the same ports.
    together = {found.get("network_mode") for name, found in services.items() if name != "kafka"}
    demand(together == {"service:kafka"}, f"the networks are {together}")
    command = services["job"]["command"]
    target = yaml.safe_load(load("prometheus.yaml"))["scrape_configs"][0]["static_configs"][0]["targets"]
    demand(target == [f"127.0.0.1:{command[command.index('--listen') + 1]}"], f"{target} is scraped, and {command} is run")
    source = yaml.safe_load(load("grafana/datasources.yaml"))["datasources"][0]
    demand(source["url"] == "http://localhost:9090" and source["type"] == "prometheus", f"the source of Grafana is {source}")
    mounted = [volume.split(":")[1] for volume in services["grafana"]["volumes"]]
    boards = yaml.safe_load(load("grafana/dashboards.yaml"))["providers"][0]["options"]["path"]
    demand(any(os.path.dirname(path) == boards for path in mounted), f"no board is in {boards}: {mounted}")
    return services


def dockerfile(services):
    lines = re.sub(r"\\\n", " ", load("Dockerfile")).splitlines()
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    stages, arrays = {}, {}
    for line in lines:
        instruction, rest = line.split(" ", 1)
        demand(instruction in INSTRUCTIONS, f"the Dockerfile has \"{instruction}\"")
        if instruction == "FROM":
            image = rest.split(" AS ")
            stages[image[1] if len(image) > 1 else "last"] = image[0]
            demand(":" in image[0], f"{image[0]} has no version")
        for flag in re.findall(r"--from=(\S+)", rest):
            demand(flag in stages, f"stage {flag} is not there")
        if instruction in ("ENTRYPOINT", "HEALTHCHECK"):
            arrays[instruction] = json.loads(rest[rest.index("["):])
    demand(stages["last"].endswith(":nonroot"), f"the image runs as root: {stages['last']}")
    copied = [shlex.split(line)[-1] for line in lines if line.startswith("COPY --from")]
    demand(arrays["ENTRYPOINT"] == ["/usr/bin/headway"] and "/usr/bin/headway" in copied, f"{arrays} is run, {copied} is there")
    demand(arrays["HEALTHCHECK"][:2] == ["/usr/bin/headway", "status"], f"health is {arrays['HEALTHCHECK']}")
    demand("/lake" in copied and any(line == "VOLUME /lake" for line in lines), "there is no lake")
    demand(services["job"]["volumes"][0] == "lake:/lake", "the lake is elsewhere")


def overlaps(one, other):
    a, b = one["gridPos"], other["gridPos"]
    return a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"] and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"]


def board():
    """The expressions of the board."""
    found = json.loads(load("grafana.json"))
    demand(all(found.get(key) for key in ("uid", "title", "schemaVersion", "panels")), "the board has no head")
    panels = found["panels"]
    demand(len({panel["id"] for panel in panels}) == len(panels), "two panels have one number")
    known = {variable["name"] for variable in found["templating"]["list"]}
    expressions = []
    for at, panel in enumerate(panels):
        title, place = panel["title"], panel["gridPos"]
        demand(place["x"] + place["w"] <= 24 and panel["type"] in ("stat", "timeseries"), f"panel {title}")
        demand(not any(overlaps(panel, other) for other in panels[:at]), f"panel {title} lies over another")
        demand(panel.get("targets"), f"panel {title} shows nothing")
        for target in panel["targets"]:
            used = set(re.findall(r"\$\{?(\w+)", target["expr"])) - {"__rate_interval"}
            demand(used <= known, f"panel {title} uses {used}")
            expressions.append(re.sub(r"\$\{?\w+\}?", lambda name: "5m" if "interval" in name[0] else ".+", target["expr"]))
    return expressions


def main():
    try:
        services = compose()
        dockerfile(services)
        expressions = board()
    except Wrong as wrong:
        sys.exit(f"error: {wrong}")
    rules = [{"record": f"panel:{number}", "expr": expr} for number, expr in enumerate(expressions)]
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        yaml.safe_dump({"groups": [{"name": "board", "rules": rules}]}, file)
    print(f"compose.yaml, Dockerfile, grafana.json: SUCCESS, {len(services)} services, {len(rules)} expressions")


main()

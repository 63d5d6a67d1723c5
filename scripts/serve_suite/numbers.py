"""All five numbers of the dashboard, at a job that has all five: it reads a real broker, and delivers its views to a real database."""
import glob
import os
import pathlib
import shutil
import subprocess

from measures import postgres

HERE = pathlib.Path(__file__).resolve().parent
KAFKA = str(HERE.parent / "kafka")
LOCK = "SELECT FROM headway_turnstile._headway FOR UPDATE"


def missing():
    """What is not here to run it with; nothing if all is."""
    if not shutil.which("java") or subprocess.run([KAFKA, "jars"], capture_output=True, check=False).returncode != 0:
        return "no broker: Java, and Maven or Kafka's jars"
    if not glob.glob("/usr/lib/postgresql/*/bin/initdb") and not shutil.which("initdb"):
        return "no PostgreSQL"
    return None


class Broker:
    """A real broker to which messages of now come without an end; a context."""

    def __init__(self, binary, folder):
        self.folder, self.config, self.producer = str(folder / "broker"), str(folder / "client.properties"), None
        self.guard = subprocess.Popen([KAFKA, "--dir", self.folder, "--heap-mb", "256", "serve"], stdin=subprocess.PIPE,
                                      stdout=subprocess.PIPE, text=True)
        address = self.guard.stdout.readline().strip()
        if not address:
            raise OSError("the broker does not start")
        pathlib.Path(self.config).write_text(f"bootstrap.servers={address}\n", encoding="utf-8")
        subprocess.run([KAFKA, "--dir", self.folder, "topic", "mta-turnstile", "2"], check=True, stdout=subprocess.DEVNULL)
        # Up to the speed of the clock, event time begins now.
        words = ["--messages", "none", "--continuous", "--speed", "1", "--rate", "40", "--partitions", "2", "--bad", "5%"]
        self.producer = subprocess.Popen([binary, "produce", "turnstile", "--to", "kafka:", "--kafka-config", self.config, *words],
                                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.producer:
            self.producer.kill()
            self.producer.wait()
        self.guard.stdin.close()
        self.guard.wait()


def drive(suite, job, module, server):
    """Lets the page's driver watch the numbers; locks the database's tables when it asks for it."""
    held = None
    driver = subprocess.Popen(["node", str(HERE / "numbers.cjs"), f"http://127.0.0.1:{job.port}"], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    try:
        for line in driver.stdout:
            word = line.strip()
            if word == "HOLD":
                held = module.Held(server, LOCK).__enter__()
            elif word == "RELEASE":
                held.__exit__()
                held = None
            else:
                suite.say("  " + word)
                continue
            driver.stdin.write("done\n")
            driver.stdin.flush()
        suite.check(driver.wait(30) == 0, "the numbers do not do what they must")
    finally:
        driver.kill()
        if held:
            held.__exit__()


def run(suite, binary, folder):
    """Watches the numbers of a job in `folder`."""
    module = postgres.suite()
    home = os.path.join(folder, "server")
    os.makedirs(home)
    # The server runs as another user.
    os.chmod(folder, 0o755)
    server = module.Server(home)
    try:
        with Broker(binary, folder) as broker:
            job = suite.Job(binary, folder, 0)
            words = ["run", "turnstile", "--source", "kafka:", "--kafka-config", broker.config, "--lake", "five", "--views",
                     "--postgres", server.url, "--epoch", "200ms", "--window", "10s", "--lateness", "1s"]
            try:
                job.begin(words)
                drive(suite, job, module, server)
            finally:
                if job.process and job.process.poll() is None:
                    job.kill()
    finally:
        server.stop("immediate")

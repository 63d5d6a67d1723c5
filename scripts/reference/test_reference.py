"""Tests of the reference program: python3 -m unittest discover -s scripts/reference -t scripts"""
import collections
import csv
import glob
import gzip
import io
import json
import os
import pathlib
import random
import tempfile
import unittest
import zoneinfo
import datetime as dt

from reference import captures, cli, csv_text, draws, generate, job, message, verdict
from reference.instants import Clock, NoTime

LINE = "A002,R051,02-00-00,59 ST,NQR456W,BMT,01-30-24,12:32:04,REGULAR,6,7,{id},{time}"
HEADER = ",".join(message.COLUMNS)
NOON_MS = 1_706_616_000_000


def line(time="2024-01-30 12:32:04", uid="x"):
    return LINE.format(time=time, id=uid)


class CsvText(unittest.TestCase):
    def test_splits_as_pythons_own_reader_does(self):
        draw = random.Random(1)
        for _ in range(20_000):
            text = "".join(draw.choice('a,"\r\n b') for _ in range(draw.randrange(12)))
            expected = [record for record in csv.reader(io.StringIO(text, newline="")) if record]
            self.assertEqual(csv_text.records(text), expected, repr(text))


class Instants(unittest.TestCase):
    def test_spellings_of_one_instant(self):
        clock = Clock("America/New_York")
        for text in ("2024-01-30 07:32:04.567", "2024-01-30T07:32:04,5679", "2024-01-30T12:32:04.567Z", "2024-01-30 18:17:04.567+05:45",
                     "2024-01-30T06:32:04.567-0600", "2024-01-31T06:32:04.567999999+18"):
            self.assertEqual(clock.parse_ms(text), 1_706_617_924_567, text)

    def test_refuses_what_is_no_time(self):
        clock = Clock("UTC")
        for text in ("", "2024-01-30", "2024-01-30 12:32", "2024-01-30t12:32:04", "2024-01-30 12:32:04z", "2024-02-30 00:00:00", "2024-01-30 24:00:00",
                     "1969-12-31 23:59:59", "3000-01-01 00:00:00", "2024-01-30 12:32:04+18:60", "2024-01-30 12:32:04+19", "2024-01-30 12:32:04."):
            with self.assertRaises(NoTime, msg=text):
                clock.parse_ms(text)

    def test_hour_that_never_was_is_no_time(self):
        with self.assertRaises(NoTime):
            Clock("America/New_York").parse_ms("2024-03-10 02:30:00")

    def test_of_an_hour_that_comes_twice_the_nearer_one_is_meant(self):
        clock, hour = Clock("America/New_York"), 3_600_000
        first = clock.parse_ms("2024-11-03 01:30:00")
        for newest, meant in ((first, first), (first + hour, first + hour), (first + hour // 2, first), (first + hour // 2 + 1, first + hour)):
            self.assertEqual(clock.parse_ms("2024-11-03 01:30:00", newest), meant)

    def test_wall_clock_agrees_with_pythons_folds(self):
        draw = random.Random(2)
        for name in {zone for zone, _ in draws.PLACES}:
            zone, clock = zoneinfo.ZoneInfo(name), Clock(name)
            for _ in range(3000):
                wall = dt.datetime(2024, 1, 1) + dt.timedelta(minutes=draw.randrange(366 * 24 * 60))
                both = {wall.replace(tzinfo=zone, fold=fold).astimezone(dt.timezone.utc) for fold in (0, 1)}
                real = sorted(int(at.timestamp()) for at in both if at.astimezone(zone).replace(tzinfo=None) == wall)
                self.assertEqual(clock.instants_s(int(wall.replace(tzinfo=dt.timezone.utc).timestamp())), real, f"{name} {wall}")


class Messages(unittest.TestCase):
    def reason(self, text, limit_ms=None):
        value = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        try:
            message.read(value, Clock("UTC"), limit_ms=limit_ms)
        except message.Refused as refused:
            return refused.reason
        return "good"

    def test_reasons(self):
        fields = line().split(",")
        with_field = lambda index, text: ",".join([*fields[:index], text, *fields[index + 1:]])
        cases = {
            line(): "good", json.dumps(line() + "\n"): "good", "\ufeff" + line() + "\r\n": "good", f"{HEADER}\n{line()}\n\n": "good",
            None: "null-value", b"x" * (message.BYTES_MAX + 1): "too-long", b"\xff": "not-utf8", '"\\ud800"': "not-utf8", " \t\r\n": "empty",
            HEADER: "empty", 'a"b': "bad-csv", f"C/A,UNIT\n{line()}": "bad-header", f"CA,CA\n{line()}": "bad-header",
            f"{line()}\n{line()}": "too-many-records", line() + ",x": "wrong-field-count", with_field(1, " "): "missing-field",
            with_field(4, "\x01"): "control-character", with_field(8, "\x85"): "control-character", with_field(11, "\x01"): "good",
            with_field(9, "-1"): "bad-number", with_field(10, "1" * 19): "bad-number", line("2024-02-30 00:00:00"): "bad-timestamp",
        }
        for value, reason in cases.items():
            self.assertEqual(self.reason(value), reason, repr(value)[:80])

    def test_limit_is_the_last_instant_that_is_believed(self):
        self.assertEqual(self.reason(line(), 1_706_617_924_000), "good")
        self.assertEqual(self.reason(line(), 1_706_617_923_999), "future-event-time")

    def test_header_orders_the_fields(self):
        text = "ac,exits,unit,scp,station,linename,division,desc,entries,date,time\nA002,7,R051,02-00-00,59 ST,NQ,BMT,REGULAR,6,01/30/2024,12:32:04"
        found = message.read(text.encode(), Clock("UTC"))
        self.assertEqual((found.id, found.entries, found.exits, found.time_ms), ("", 6, 7, 1_706_617_924_000))


class Captures(unittest.TestCase):
    def read(self, *contents):
        with tempfile.TemporaryDirectory() as folder:
            for index, content in enumerate(contents):
                with open(os.path.join(folder, f"{index}"), "wb") as file:
                    file.write(content if isinstance(content, bytes) else content.encode())
            return captures.partitions(glob.glob(os.path.join(folder, "*")), "t")

    def test_header_names_the_columns_and_is_filtered(self):
        header = "C/A,EXITS,ENTRIES,UNIT,SCP,STATION,LINENAME,DIVISION,DESC,TIMESTAMP"
        found = self.read(f"\n\ufeff{header}\nx\r\n{header}\nCA,UNIT\n")[0]
        self.assertEqual([one.is_header for one in found], [False, True, False, True, False])
        self.assertEqual([one.columns[1] for one in found], ["UNIT", *["EXITS"] * 4])

    def test_refuses_headers_that_cannot_be_used_or_change(self):
        for content in ("CA,UNIT\nx\n", f"{HEADER}\nx\n{HEADER},NOTE\n", f"x\n{HEADER},NOTE\n"):
            with self.assertRaises(captures.BadCapture):
                self.read(content)
        self.assertTrue(self.read(f"x\n{HEADER}\n")[0][1].is_header)

    def test_envelopes_of_the_topic_in_the_order_of_offsets(self):
        lines = [{"topic": topic, "partition": 3, "offset": offset, "payload": str(offset), "ts": ts}
                 for topic, offset, ts in (("t", 7, -1), ("u", 8, 5), ("t", 2, 5))]
        packed = b"".join(gzip.compress(json.dumps(one).encode() + b"\n") for one in lines)
        self.assertEqual([(one.offset, one.value, one.kafka_ms) for one in self.read(packed)[3]], [(2, b"2", 5), (7, b"7", None)])
        for other in ("x\n", json.dumps(lines[0]) + "\nx\n"):
            with self.assertRaises(captures.BadCapture):
                self.read("", "", "", other, packed) if other == "x\n" else self.read(other)


class Jobs(unittest.TestCase):
    def run_lines(self, *partitions, **more):
        options = job.Options(**{"window_ms": 300_000, "slide_ms": 300_000, "lateness_ms": 60_000, **more})
        messages = {number: [captures.Message(at, text.encode()) for at, text in enumerate(texts)] for number, texts in enumerate(partitions)}
        return job.run(messages, options)

    def test_record_is_late_once_its_last_window_has_closed(self):
        early, late = line("2024-01-30 12:04:59"), line("2024-01-30 12:06:00", "y")
        on_time = self.run_lines([line("2024-01-30 12:05:59"), early])
        self.assertEqual(on_time.fates["late"], 0)
        found = self.run_lines([late, early])
        self.assertEqual([(one.event_time_ms, one.stamp_ms) for one in found.late], [(NOON_MS + 299_000, NOON_MS + 300_000)])
        self.assertEqual(self.run_lines([late], [early]).fates["late"], 0, "its own partition decides")

    def test_record_counts_once_in_each_window_it_is_on_time_for(self):
        texts = [line("2024-01-30 12:02:00"), line("2024-01-30 12:02:00"), line("2024-01-30 12:02:00", ""), line("2024-01-30 12:02:00", "")]
        found = self.run_lines(texts, slide_ms=120_000, window_ms=180_000)
        self.assertEqual(sorted((row[7], row[9], n) for row, n in found.rows.items()), [("12:03:00", "18", 1), ("12:05:00", "18", 1)])
        self.assertEqual(found.fates, {"consumed": 4, "accepted": 3, "duplicate": 1, "late": 0, "dead": 0, "filtered": 0})

    def test_floors_and_limits_hold_from_their_offset_on(self):
        texts = [line("2024-01-30 12:01:00", "a"), line("2024-01-30 12:01:00", "b"), line("2024-01-30 12:31:00", "c")]
        found = self.run_lines(texts, floors={0: [(1, NOON_MS + 300_000)]}, limits={0: [(2, NOON_MS + 1_800_000)]})
        self.assertEqual(([one.message.offset for one in found.late], [one.reason for one in found.dead]), ([1], ["future-event-time"]))


class Generated(unittest.TestCase):
    def test_same_options_give_the_same_files(self):
        for form in generate.FORMS:
            contents = []
            for _ in range(2):
                with tempfile.TemporaryDirectory() as folder:
                    generate.write(folder, generate.Options(messages=300, form=form, member=50, odd=0.5, bad=0.2))
                    contents.append({path.name: path.read_bytes() for path in pathlib.Path(folder).iterdir()})
            self.assertEqual(contents[0], contents[1])

    def test_every_fate_and_reason_comes_about(self):
        reasons, fates = collections.Counter(), collections.Counter()
        for form in generate.FORMS:
            with tempfile.TemporaryDirectory() as folder:
                ahead = 0.01 if form == "envelopes" else 0
                generate.write(folder, generate.Options(messages=3000, form=form, odd=0.3, bad=0.2, ahead=ahead, long=1, foreign=0.1))
                found = job.run(captures.partitions(glob.glob(folder + "/*"), "mta-turnstile"), job.Options(90_000, 61_000, 7_000))
            reasons.update(one.reason for one in found.dead)
            fates.update(found.fates)
        self.assertEqual(len(reasons), 13, reasons)
        self.assertTrue(all(fates.values()), fates)


class Verdicts(unittest.TestCase):
    def write(self, path, text):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with gzip.open(path, "wt", encoding="utf-8", newline="") as file:
            file.write(text)

    def test_lake_is_equal_only_if_nothing_is_missing_doubled_or_changed(self):
        late = job.Late(1, captures.Message(5, b"\xff", 8), 7, 9)
        answer = job.Answer(collections.Counter({("a",) * 9 + ("1", "2"): 1}), {}, [job.Dead(0, captures.Message(4, None), "null-value")], [late])
        dead_row = {"partition": 0, "offset": 4, "timestamp": None, "reason": "null-value", "encoding": "utf8", "payload": None, "length": None}
        late_row = {"partition": 1, "offset": 5, "timestamp": 8, "encoding": "base64", "payload": "/w==", "length": None, "event_time": 7, "stamp": 9}
        row = "a," * 9 + "1,2\n"
        good = {"turnstile/batch_3_x.csv.gz": ",".join(job.ROW) + "\n" + row, "_dead/turnstile/d.ndjson.gz": json.dumps(dead_row) + "\n",
                "_late/turnstile/l.ndjson.gz": json.dumps(late_row) + "\n"}
        spoiled = [{}, {"turnstile/batch_3_x.csv.gz": good["turnstile/batch_3_x.csv.gz"] + row}, {"_dead/turnstile/d.ndjson.gz": ""},
                   {"_dead/turnstile/d.ndjson.gz": json.dumps({**dead_row, "payload": ""}) + "\n"},
                   {"_late/turnstile/l.ndjson.gz": json.dumps({**late_row, "stamp": 8}) + "\n"}, {"turnstile/batch_4_x.csv.gz": ",".join(job.ROW) + "\n" + row}]
        for change in spoiled:
            with tempfile.TemporaryDirectory() as lake:
                for name, text in {**good, **change}.items():
                    self.write(os.path.join(lake, name), text)
                report, lines = verdict.compare(answer, lake)
                self.assertEqual((report["equal"], lines == []), (change == {}, change == {}), change)


class Commands(unittest.TestCase):
    def test_durations(self):
        for text, ms in (("7s", 7000), ("3m", 180_000), ("2h30m", 9_000_000), ("50ms", 50), ("1m5s", 65_000)):
            self.assertEqual(cli.duration_ms(text), ms)
        for text in ("", "7", "s", "1d", "5m "):
            self.assertRaises(Exception, cli.duration_ms, text)


if __name__ == "__main__":
    unittest.main()

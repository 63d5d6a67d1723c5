//! One job over processes that talk by TLS: the lake that one process leaves, also after a kill; and whoever has not the right
//! certificate is refused by name.

use crate::certificates::{Ca, Flaw, Signed};
use crate::cli::{folder, headway};
use crate::process::{signal, write};
use crate::processes::{JOB, Processes, Size, answer, head, messages, run_job, seq, until};
use rustix::process::Signal;
use std::io::Write;
use std::net::TcpStream;
use std::path::Path;

/// Where the processes of these tests are.
const HERE: [&str; 1] = ["127.0.0.1"];

/// Gives up soon where nobody is the right one.
const SOON: [&str; 4] = ["--join-within", "1s", "--restarts", "0"];

/// The job with these files, and `more` flags.
fn job([cert, key, ca]: [&'static str; 3]) -> Vec<&'static str> {
    [&JOB[..], &["--mesh-cert", cert, "--mesh-key", key, "--mesh-ca", ca]].concat()
}

/// The job with the own files.
fn own() -> Vec<&'static str> {
    job(["own.pem", "own.key", "ca.pem"])
}

fn write_signed(folder: &Path, name: &str, Signed { certificate, key }: &Signed) {
    write(folder, &format!("{name}.pem"), certificate);
    write(folder, &format!("{name}.key"), key);
}

/// Writes a CA as `ca`, and what it has signed as `own`.
fn certificates(folder: &Path) -> Ca {
    let ca = Ca::new();
    write(folder, "ca.pem", &ca.pem);
    write_signed(folder, "own", &ca.signs(&HERE, Flaw::None));
    ca
}

#[test]
fn rows_over_tls_are_those_of_one_process_also_after_a_kill_and_a_drain() {
    let whole = folder();
    messages(whole.path(), 12_000);
    run_job(whole.path(), Size { processes: 1, workers: 1 }, &JOB);
    for processes in [2, 3] {
        let folder = folder();
        messages(folder.path(), 12_000);
        certificates(folder.path());
        let args = own();
        let mut job = Processes::of(folder.path(), processes);
        (0..processes).for_each(|process| job.start(process, &args));
        until(&mut job, -1, 5);
        // The others start themselves again, and read the certificates again.
        job.kill(processes - 1, &args);
        until(&mut job, seq(folder.path()), 5);
        signal(&job.children[0], Signal::TERM);
        assert_eq!(job.codes(), vec![Some(0); processes], "{}", job.log("err", 0));
        assert!(job.log("err", 0).contains("tls=\"1.3\""), "{}", job.log("err", 0));
        assert_eq!(head(folder.path()).expect("there is a manifest")["generation"], 2);
        run_job(folder.path(), Size { processes, workers: 2 }, &args);
        assert_eq!(answer(folder.path()), answer(whole.path()), "{processes} processes");
    }
}

#[test]
fn process_that_is_stopped_is_lost_over_tls_as_without() {
    let folder = folder();
    messages(folder.path(), 12_000);
    certificates(folder.path());
    let args = [&own()[..], &["--restarts", "0"]].concat();
    let mut job = Processes::of(folder.path(), 2);
    (0..2).for_each(|process| job.start(process, &args));
    until(&mut job, -1, 3);
    signal(&job.children[1], Signal::STOP);
    let leader = job.children[0].wait().expect("it ends");
    assert_eq!(leader.code(), Some(75), "{}", job.log("err", 0));
    assert!(job.log("err", 0).contains("no sign of life for 10 s"), "{}", job.log("err", 0));
    signal(&job.children[1], Signal::CONT);
    assert_eq!(job.codes(), [Some(75); 2], "{}", job.log("err", 1));
}

#[test]
fn process_without_the_right_certificate_is_refused_by_name_and_the_right_one_joins() {
    let folder = folder();
    messages(folder.path(), 2_000);
    certificates(folder.path());
    let other = Ca::new();
    write(folder.path(), "other-ca.pem", &other.pem);
    write_signed(folder.path(), "other", &other.signs(&HERE, Flaw::None));
    let mut job = Processes::of(folder.path(), 2);
    job.start(0, &own());
    // Without TLS.
    let said = job.ends(1, 2, &[&JOB[..], &SOON].concat());
    assert!(said.contains("(mesh-tls)") && said.contains("--mesh-cert"), "{said}");
    // With another CA, each end distrusts the other: nobody knows who is right.
    let others = self::job(["other.pem", "other.key", "other-ca.pem"]);
    let said = job.ends(1, 3, &[&others[..], &SOON].concat());
    assert!(
        said.contains("its certificate is not signed by the CA in the file of --mesh-ca (mesh-certificate)"),
        "{said}"
    );
    // A stranger.
    let hosts = std::fs::read_to_string(folder.path().join("hosts")).expect("it was written");
    let mut stranger = TcpStream::connect(hosts.lines().next().expect("it lists two")).expect("it listens");
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it reads");
    job.start(1, &own());
    assert_eq!(job.codes(), [Some(0); 2], "{}", job.log("err", 0));
    let said = job.log("err", 0);
    for refusal in [
        "it speaks no TLS, and says that it is process 1 (mesh-tls)",
        "a caller left: it does not take the certificate of this process: it is not signed by the CA",
        "refused a caller: it is no process of a job",
    ] {
        assert!(said.contains(refusal), "{refusal}: {said}");
    }
}

#[test]
fn process_with_tls_is_told_that_process_0_has_none() {
    let folder = folder();
    messages(folder.path(), 2_000);
    certificates(folder.path());
    let mut job = Processes::of(folder.path(), 2);
    job.start(0, &JOB);
    // Whoever says so has proved nothing: the process waits for the right one.
    let said = job.ends(1, 3, &[&own()[..], &SOON].concat());
    assert!(
        said.contains("it says that it was started without --mesh-cert, and this process has it (mesh-tls)"),
        "{said}"
    );
    job.start(1, &JOB);
    assert_eq!(job.codes(), [Some(0); 2], "{}", job.log("err", 0));
    let said = job.log("err", 0);
    assert!(said.contains("it speaks TLS, and this process was started without --mesh-cert"), "{said}");
}

#[test]
fn certificates_that_do_not_fit_are_refused_before_anything_is_made() {
    let folder = folder();
    messages(folder.path(), 100);
    let ca = certificates(folder.path());
    drop(Processes::of(folder.path(), 2));
    write(folder.path(), "empty.pem", "");
    write_signed(folder.path(), "second", &ca.signs(&HERE, Flaw::None));
    write_signed(folder.path(), "old", &ca.signs(&HERE, Flaw::Expired));
    write_signed(folder.path(), "stranger", &Ca::new().signs(&HERE, Flaw::None));
    write_signed(folder.path(), "other", &ca.signs(&["a-0.jobs", "10.0.0.1"], Flaw::None));
    let cases = [
        (["own.pem", "own.key", ""], "--mesh-cert: TLS between processes also needs --mesh-ca"),
        (["", "own.key", ""], "--mesh-key: TLS between processes also needs --mesh-cert and --mesh-ca"),
        (["absent.pem", "own.key", "ca.pem"], "--mesh-cert: \"absent.pem\" cannot be read"),
        (["empty.pem", "own.key", "ca.pem"], "--mesh-cert: \"empty.pem\" has no certificate in PEM form"),
        (["own.pem", "empty.pem", "ca.pem"], "--mesh-key: \"empty.pem\" has no private key in PEM form"),
        (["own.pem", "own.key", "own.key"], "--mesh-ca: \"own.key\" has no certificate in PEM form"),
        (["own.pem", "second.key", "ca.pem"], "--mesh-key: the key in \"second.key\" is not that of"),
        (
            ["stranger.pem", "stranger.key", "ca.pem"],
            "--mesh-cert: the certificate in \"stranger.pem\" is not signed by",
        ),
        (["old.pem", "old.key", "ca.pem"], "--mesh-cert: the certificate in \"old.pem\" has expired"),
        (
            ["other.pem", "other.key", "ca.pem"],
            "--mesh-cert: the certificate in \"other.pem\" is not for the host \"127.0.0.1\", only for a-0.jobs",
        ),
    ];
    for (files, expected) in cases {
        let set = ["--mesh-cert", "--mesh-key", "--mesh-ca"].into_iter().zip(files);
        let set: Vec<&str> =
            set.filter(|(_, file)| !file.is_empty()).flat_map(|(flag, file)| [flag, file]).collect();
        for command in ["run", "check"] {
            let args = [&[command], &JOB[1..], &["-H", "hosts", "-p", "0"], &set].concat();
            let run = headway(folder.path(), &args);
            assert_eq!(run.code, Some(2), "{command}, {expected}: {}", run.err);
            assert!(run.err.starts_with(&format!("error: {expected}")), "{command}, {expected}: {}", run.err);
            assert!(run.err.contains("\nhint: ") || run.err.contains("\ndetail: "), "{}", run.err);
            assert!(!folder.path().join("lake").exists(), "{command}, {expected}");
        }
    }
}

#[test]
fn certificate_that_ends_soon_is_a_warning_at_the_start_and_in_check() {
    let folder = folder();
    messages(folder.path(), 100);
    let ca = certificates(folder.path());
    write_signed(folder.path(), "own", &ca.signs(&HERE, Flaw::EndsInDays(9)));
    let mut job = Processes::of(folder.path(), 2);
    let check = [&["check"], &own()[1..], &["-H", "hosts", "-p", "0"]].concat();
    let check = headway(folder.path(), &check);
    assert_eq!(check.code, Some(0), "{}", check.err);
    let notice = "notice    warning, the certificate, or one after it in the file, ends at ";
    assert!(check.out.contains(notice) && check.out.contains(": own.pem"), "{}", check.out);
    (0..2).for_each(|process| job.start(process, &own()));
    assert_eq!(job.codes(), [Some(0); 2], "{}", job.log("err", 0));
    assert!(job.log("err", 1).contains("certificate-ends"), "{}", job.log("err", 1));
}

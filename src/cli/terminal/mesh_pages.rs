//! What the errors of jobs on several processes mean.

use super::page::{Page, Turn, of};
use Turn::{TheirSystem, Yours};

/// The pages of jobs on several processes.
pub(super) const MESH_PAGES: &[Page] = &[
    of(
        "mesh-secret",
        Yours,
        "This process does not know the secret of the job's other processes, or an address can be reached from other machines and there is no secret.",
        "A process that joins a job can read its records and write its rows.",
        "Give every process the same file with --mesh-secret-file, or use addresses of this machine only.",
    ),
    of(
        "mesh-version",
        Yours,
        "This process is another build than process 0.",
        "Processes exchange records in the form of their build, and another build would misread them.",
        "Start the same program everywhere. For a new build, replace the program by a rename, then end one process: each takes the new one up when it starts again.",
    ),
    of(
        "mesh-plan",
        Yours,
        "This process was started with another job, pipeline or setting than process 0.",
        "All processes must build the same dataflow, or records would reach the wrong operator.",
        "Start every process with the same command line and files; only --process may differ.",
    ),
    of(
        "mesh-addresses",
        Yours,
        "This process has another number of processes or workers than process 0, or another list of hosts.",
        "Which worker owns which key follows from these numbers.",
        "Give every process the same --processes, --workers and --hostfile.",
    ),
    of(
        "mesh-index",
        Yours,
        "The number of this process does not fit the address at which it listens or which it called.",
        "Two processes with one number would both own the same keys.",
        "Give each process a --process of its own, from 0, and list its address in that place of the host file.",
    ),
    of(
        "mesh-tls",
        Yours,
        "One process of the job has TLS and another has not.",
        "If a process with TLS also accepted plain text, anybody could join it without TLS.",
        "Give every process --mesh-cert, --mesh-key and --mesh-ca, or none of them; in the file the keys are cert_file, key_file and ca_file of [cluster].",
    ),
    of(
        "mesh-certificate",
        Yours,
        "Process 0 refuses the certificate of this process.",
        "A process joins only with a certificate that the CA of the job has signed, that is valid now, and that names its host as the host file does.",
        "Read in the log what does not fit, have the CA sign a new certificate, or give every process the same --mesh-ca. Check the clocks of the machines.",
    ),
    of(
        "mesh-unbound",
        TheirSystem,
        "This process cannot listen on its address in the host file.",
        "The other processes would not find it.",
        "Check that the address is one of this machine, and that no other program listens there.",
    ),
    of(
        "mesh-superseded",
        Yours,
        "Another process with the same number takes part in the job: it has joined while this one did, or before.",
        "Until all are there the newest start of a process counts. After that the job runs, and gives signs of life, without any other.",
        "Start each process once. If a supervisor started it again, there is nothing to do.",
    ),
    of(
        "join-timeout",
        TheirSystem,
        "Not all processes of the job were there in time.",
        "A job runs on all of its processes or not at all. Nothing was taken over.",
        "Look at the log of those that are missing. --join-within sets how long to wait.",
    ),
    of(
        "join-stopped",
        Yours,
        "The process got a signal to end while it waited for the others.",
        "Nothing had begun, and nothing was taken over.",
        "Start it again when the others are there.",
    ),
    of(
        "rescale-pending",
        Yours,
        "The job has not gone on with the processes and workers that were asked for.",
        "Process 0 looks twice a second for a request, drains, and all new processes must be there for the next claim. The request stays.",
        "Check that all processes are started, and look at their logs. The next claim takes the request.",
    ),
    of(
        "membership-changed",
        Yours,
        "Another number of processes or workers was asked for or committed while this process waited for the others.",
        "All processes of a run must have the same number of processes: that of the last manifest, or of a request that the next claim takes.",
        "Nothing: the process starts itself again, with the new number. --restarts does not limit this.",
    ),
    of(
        "membership-refused",
        Yours,
        "This process uses the size in the last manifest, and process 0 was started with another size.",
        "A start of process 0 with -n, -H or -w sets the size for all processes.",
        "Nothing, if this process has the same flags as process 0: it starts itself again and uses them. Otherwise start it with the flags of process 0.",
    ),
    of(
        "peer-lost",
        TheirSystem,
        "Another process of the job is gone, or gave no sign of life for 10 s.",
        "No process goes on without the others: an epoch is whole or it is not committed. The last commit holds.",
        "Start all processes again; with --restarts they start themselves again. Look at the log of the lost process.",
    ),
    of(
        "peer-failed",
        TheirSystem,
        "Another process of the job has stopped, and said why.",
        "No process goes on without the others. The last commit holds.",
        "Look at the code that the error names: headway explain CODE.",
    ),
    of(
        "lake-not-shared",
        Yours,
        "The lake of this process does not have a file that process 0 has just written.",
        "All processes must write into one lake, or readers would miss rows.",
        "Give every process the same folder: on one machine, or on a file system that all of them share.",
    ),
];

//! The names of the command line's own errors, each with its exit code. Those of a job are the engine's.

pub(crate) use crate::engine::code::Exit;

/// Declares the codes: variant, name, exit code.
macro_rules! codes {
    ($($(#[$about:meta])* $variant:ident = $name:literal, $exit:ident;)*) => {
        /// An error of the command line.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Code { $($(#[$about])* $variant,)* }

        impl Code {
            /// All of them.
            #[cfg(test)]
            pub(crate) const ALL: &[Code] = &[$(Code::$variant,)*];

            /// The stable name.
            pub(crate) fn name(self) -> &'static str {
                match self { $(Code::$variant => $name,)* }
            }

            /// The exit code of a process that stops for it.
            pub(crate) fn exit(self) -> Exit {
                match self { $(Code::$variant => Exit::$exit,)* }
            }
        }
    };
}

codes! {
    /// Flags or arguments that are unknown, lack a value, or do not go together.
    CommandLine = "command-line-invalid", Usage;
    /// The configuration file cannot be read.
    ConfigUnreadable = "config-unreadable", Usage;
    /// The configuration file has an unknown key, an unfit value, or is not TOML.
    ConfigInvalid = "config-invalid", Usage;
    /// A setting makes no job.
    SettingInvalid = "setting-invalid", Usage;
    /// No pipeline was named, or there is none of that name.
    PipelineUnknown = "pipeline-unknown", Usage;
    /// A pipeline of the catalogue cannot run as it is declared.
    PipelineBroken = "pipeline-broken", Usage;
    /// No source was named, or it is not one.
    SourceInvalid = "source-invalid", Usage;
    /// No lake was named, or it cannot be one.
    LakeInvalid = "lake-invalid", Usage;
    /// A path with a part that only a shell would replace.
    PathInvalid = "path-invalid", Usage;
    /// There is no lake to look at.
    LakeNotFound = "lake-not-found", Unreachable;
    /// The lake has no such job, or several and none was named.
    JobNotFound = "job-not-found", Usage;
    /// The job has no such manifest.
    ManifestNotFound = "manifest-not-found", Usage;
    /// The job has no such view.
    #[cfg_attr(not(feature = "parquet"), allow(dead_code, reason = "this build reads no views"))]
    ViewUnknown = "view-unknown", Usage;
    /// A pipeline says of no view how it is recomputed.
    #[cfg_attr(not(feature = "parquet"), allow(dead_code, reason = "this build reads no views"))]
    ViewsNotVerifiable = "views-not-verifiable", Usage;
    /// A view is not what the committed facts add up to.
    #[cfg_attr(not(feature = "parquet"), allow(dead_code, reason = "this build reads no views"))]
    ViewsDiffer = "views-differ", Check;
    /// A view has changed since it was written, and only the facts of the last commit are known.
    #[cfg_attr(not(feature = "parquet"), allow(dead_code, reason = "this build reads no views"))]
    ViewsBehind = "views-behind", Check;
    /// The job has no such operator, or its state has no form for people.
    OperatorUnknown = "operator-unknown", Usage;
    /// Saved state cannot be read by this program.
    StateUnreadable = "state-unreadable", Misfit;
    /// An operator holds nothing of a key.
    KeyNotFound = "key-not-found", Check;
    /// No side output has such a record.
    RecordNotFound = "record-not-found", Check;
    /// A file that a command would write is there.
    FileTaken = "file-taken", Usage;
    /// `headway explain` was asked for a code that no error has.
    UnknownName = "code-unknown", Usage;
    /// This build lacks what the command needs.
    #[cfg_attr(feature = "kafka", allow(dead_code, reason = "this build lacks nothing"))]
    NotInThisBuild = "not-in-this-build", Usage;
    /// The demo's folder holds something else.
    FolderTaken = "folder-taken", Usage;
    /// The demo's folder cannot be made or emptied.
    FolderUnwritable = "folder-unwritable", Unreachable;
    /// A file that a manifest names is not there.
    LakeFileMissing = "lake-file-missing", Corrupt;
    /// A file of the lake cannot be read to its end.
    LakeFileDamaged = "lake-file-damaged", Corrupt;
    /// The job failed, or does not respond.
    NotAlive = "not-alive", Unreachable;
    /// Records wait, or windows are held open, longer than they should.
    Lags = "lagging", Check;
    /// The job has not taken a request for another size in time.
    RescalePending = "rescale-pending", Check;
    /// The audit found a contradiction.
    AuditFailed = "audit-failed", Check;
    /// A bounded run accepted nothing of what it read.
    NothingAccepted = "nothing-accepted", Check;
    /// The demo's rows are not what they must be.
    DemoFailed = "demo-failed", Check;
    /// Standard output cannot be written.
    OutputFailed = "output-failed", Check;
    /// The address of --listen cannot be listened on.
    #[cfg_attr(not(feature = "serve"), allow(dead_code, reason = "this build does not listen"))]
    ListenFailed = "listen-failed", Unreachable;
    /// No job answers at the address, or it has not begun.
    #[cfg_attr(not(feature = "parquet"), allow(dead_code, reason = "this build reads no views"))]
    ServerUnreachable = "server-unreachable", Unreachable;
    /// The job at the address refuses the request.
    #[cfg_attr(not(feature = "parquet"), allow(dead_code, reason = "this build reads no views"))]
    ServerRefused = "server-refused", Usage;
    /// The process cannot listen for signals.
    SignalsUnavailable = "signals-unavailable", Unreachable;
}

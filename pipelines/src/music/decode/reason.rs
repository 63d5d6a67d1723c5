//! Why a message of the topics is a dead letter, beside the reasons that all pipelines share.

use headway_operators::error::Reason;

/// JSON, but not an object.
pub const NOT_AN_OBJECT: Reason = Reason::of("not-an-object");

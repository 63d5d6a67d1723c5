//! What a mistyped name was probably meant to be.

/// Names the entry of `known` that `name` was probably meant to be, and all others: "The `kind` are …".
pub(crate) fn suggest(name: &str, known: &[&str], kind: &str) -> String {
    let near = known
        .iter()
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let all = format!("The {kind} are {}.", known.join(", "));
    match near {
        Some((_, other)) => format!("Did you mean \"{other}\"? {all}"),
        None => all,
    }
}

//! Where a job delivers its views to, from its settings.

use crate::cli::settings::plan::Plan;
use crate::cli::terminal::failure::{Code, Failure};
use crate::connect::targets::target::Target;
use crate::engine::run::launch::shape;

/// The targets of the job of `plan`. Nothing is reached yet.
///
/// # Errors
/// Exit 2 if a setting does not fit, or the job has no views.
pub(crate) fn targets(plan: &Plan) -> Result<Vec<Box<dyn Target>>, Failure> {
    let Some(url) = &plan.postgres.url else { return Ok(Vec::new()) };
    if shape(plan.made.pipeline.as_ref())?.views.is_empty() {
        let what = "--postgres: the job has no views to keep there";
        return Err(Failure::new(Code::SettingInvalid, what).hint("Add --views, if the pipeline has that."));
    }
    postgres(plan, url)
}

#[cfg(feature = "postgres")]
fn postgres(plan: &Plan, url: &str) -> Result<Vec<Box<dyn Target>>, Failure> {
    use crate::cli::settings::place::flag_path;
    use crate::cli::settings::secret;
    use crate::connect::targets::postgres::{Options, Postgres};
    let password = |path| secret::of_file("--postgres-password-file", path);
    let file = plan.postgres.password_file.as_deref().map(password).transpose()?;
    let options = Options {
        url: url.to_string(),
        password: file.or_else(|| std::env::var("PGPASSWORD").ok()),
        ca: plan.postgres.ca_file.as_deref().map(|path| flag_path("--postgres-ca", path)).transpose()?,
        reader: plan.postgres.grant.clone(),
    };
    let target = Postgres::new(&options, &plan.job).map_err(|refused| {
        Failure::new(Code::SettingInvalid, format!("--postgres: {}", refused.what)).hint(refused.hint)
    })?;
    Ok(vec![Box::new(target)])
}

#[cfg(not(feature = "postgres"))]
fn postgres(_plan: &Plan, _url: &str) -> Result<Vec<Box<dyn Target>>, Failure> {
    Err(Failure::new(Code::NotInThisBuild, "this build does not know PostgreSQL")
        .hint("Build with --features postgres, or leave --postgres out."))
}

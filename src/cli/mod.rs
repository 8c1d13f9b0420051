//! The command line: flags, their environment variables (prefix `MRO_`), and what each subcommand does.

mod crds;
mod discover;
mod run;
pub mod selector;

use clap::{Parser, Subcommand};

/// Holds managed Redis of KakaoCloud and NAVER Cloud Platform as Kubernetes objects.
#[derive(Debug, Parser)]
#[command(name = "managed-redis-operator", version, about, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator
    Run(Box<run::RunArgs>),
    /// Print the CustomResourceDefinitions as YAML
    Crds,
    /// List what a credential can see, as a table or as RedisClusterRef YAML
    Discover(Box<discover::DiscoverArgs>),
}

/// Runs the subcommand; the error is one sentence for stderr.
///
/// # Errors
/// When the subcommand fails.
pub fn main(cli: Cli) -> Result<(), String> {
    match cli.command {
        Command::Run(args) => on_runtime(run::main(*args)),
        Command::Crds => crds::main(),
        Command::Discover(args) => on_runtime(discover::main(*args)),
    }
}

/// Threads that reconcile and poll. Two, so that parsing a long list does not delay everything else; not one for each core of a
/// large node, since the work waits for others most of the time.
const THREADS: usize = 2;

fn on_runtime(work: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the async runtime: {error}"))?;
    let outcome = runtime.block_on(work);
    // Work that still hangs, such as a DNS lookup, must not keep the process alive.
    runtime.shutdown_background();
    outcome
}

/// Writes to stdout. That the reader has closed it (`| head`) is no error.
fn print(text: &str) -> Result<(), String> {
    use std::io::{ErrorKind, Write as _};
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(format!("cannot write to stdout: {error}")),
        _ => Ok(()),
    }
}

/// Writes a warning to stderr. If that fails the warning is lost.
fn warn(sentence: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr().lock(), "managed-redis-operator: {sentence}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_is_an_environment_variable_too() {
        for subcommand in Cli::command().get_subcommands() {
            for flag in subcommand.get_arguments().filter(|flag| !["help", "version"].contains(&flag.get_id().as_str()))
            {
                let long = flag.get_long().unwrap();
                let wanted = format!("MRO_{}", long.to_uppercase().replace('-', "_"));
                assert_eq!(flag.get_env().and_then(|name| name.to_str()), Some(wanted.as_str()), "--{long}");
            }
        }
    }

    /// `INSTA_UPDATE=always cargo test --lib golden` writes it anew.
    #[test]
    fn the_help_is_in_the_golden_file() {
        let mut command = Cli::command().term_width(120);
        let mut help = format!("{}\n", command.render_long_help());
        for subcommand in command.get_subcommands_mut() {
            let name = subcommand.get_name().to_owned();
            help.push_str(&format!("# {name}\n\n{}\n", subcommand.render_long_help()));
        }
        insta::with_settings!({ prepend_module_to_snapshot => false, omit_expression => true }, {
            let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
            insta::assert_snapshot!("help", lines.join("\n"));
        });
    }
}

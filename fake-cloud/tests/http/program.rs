//! The program, as a shell sees it.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fake-cloud"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn it_tells_its_addresses_in_one_line() {
    let mut child = program().args(["--addr", "127.0.0.1:0"]).spawn().unwrap();
    let line = BufReader::new(child.stdout.take().unwrap()).lines().next_line().await.unwrap().unwrap();
    let addresses = line.strip_prefix("fake-cloud: clouds on ").unwrap();
    let (clouds, admin) = addresses.split_once(", admin on ").unwrap();
    assert_eq!(reqwest::get(format!("{admin}/healthz")).await.unwrap().status(), 200);
    assert_eq!(reqwest::get(format!("{clouds}/v1/clusters")).await.unwrap().status(), 401);
}

#[tokio::test]
async fn it_fails_with_one_sentence() {
    let cases: [(&[&str], &str); 5] = [
        (&["--addr", "0.0.0.0:0"], "0.0.0.0:0 is not a loopback address"),
        (&["--addr", "127.0.0.1:0", "--admin-addr", "0.0.0.0:0"], "not a loopback address"),
        (&["--addr", "127.0.0.1:65535"], "no port after 65535"),
        (&["--addr", "127.0.0.1:0", "--seed", "no/such/file"], "no/such/file"),
        (&["--addr", "127.0.0.1:0", "--log-filter", "a=b=c"], "--log-filter"),
    ];
    for (arguments, words) in cases {
        let output = program().args(arguments).output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(said.starts_with("fake-cloud: ") && said.contains(words) && said.lines().count() == 1, "{said}");
        assert!(output.stdout.is_empty());
    }
}

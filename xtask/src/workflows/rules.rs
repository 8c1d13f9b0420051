//! What must hold of every workflow: nothing that can be moved is used, what may write builds nothing, and no failure is hidden.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

/// The workflow that checks a change, and with it a release.
const CHECKS: &str = "ci.yaml";
/// What the checks have to run. As words of a step, so that a comment does not count.
const CHECKED: [&str; 2] = [".ci/run", ".ci/advisories required"];
/// Commands that build or fetch programs, and so run what dependencies bring along.
const BUILDERS: [&str; 15] = [
    "apt", "apt-get", "buildah", "cargo", "curl", "docker", "go", "make", "npm", "npx", "pip", "pipx", "rustc",
    "rustup", "wget",
];
/// What hides that a command failed.
const HIDING: [&str; 4] = ["|| true", "|| :", "set +e", "|| echo"];

/// A workflow, or a file that is used in one, as text and by its name.
pub(super) struct File<'a> {
    /// Such as `ci.yaml`.
    pub name: &'a str,
    /// All of it.
    pub text: &'a str,
}

/// What is wrong with the workflows, each a sentence. `script` gives the text of a file of the repository.
pub(super) fn findings(files: &[File<'_>], script: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut workflows = BTreeMap::new();
    let mut found = Vec::new();
    for file in files {
        match serde_saphyr::from_str::<Value>(file.text) {
            Ok(workflow) => {
                let of_it = of_workflow(file.text, &workflow, script);
                found.extend(of_it.into_iter().map(|finding| format!("{}: {finding}", file.name)));
                workflows.insert(file.name, workflow);
            }
            Err(error) => found.push(format!("{}: {error}", file.name)),
        }
    }
    found.extend(unchecked(&workflows));
    found
}

fn of_workflow(text: &str, workflow: &Value, script: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut found: Vec<String> =
        unpinned(text).map(|line| format!("not pinned by commit, with its version: {line}")).collect();
    let (used, lines) = (values(workflow, "uses").len(), uses(text).count());
    if used != lines {
        found.push(format!("{used} actions are used, but {lines} lines say `uses:`: write one to a line"));
    }
    match workflow.get("permissions") {
        None => found.push("say `permissions:`, or every job may do what the repository's settings say".to_owned()),
        Some(permissions) if may_write(permissions) => found.push("give the right to write to single jobs".to_owned()),
        Some(_) => {}
    }
    if !values(workflow, "continue-on-error").is_empty() {
        found.push("continue-on-error hides a failure".to_owned());
    }
    for (name, job) in jobs(workflow) {
        found.extend(of_job(job, script).into_iter().map(|finding| format!("job {name}: {finding}")));
    }
    found
}

fn of_job(job: &Value, script: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    if job.get("uses").is_none() && job.get("timeout-minutes").is_none() {
        found.push("it has no timeout-minutes".to_owned());
    }
    for step in steps(job) {
        let used = step["uses"].as_str().unwrap_or_default();
        if used.starts_with("actions/checkout@") && step["with"]["persist-credentials"] != Value::Bool(false) {
            found.push("checkout leaves its token behind: say persist-credentials: false".to_owned());
        }
        let command = step["run"].as_str().unwrap_or_default();
        let hiding = HIDING.iter().filter(|hiding| command.contains(**hiding));
        found.extend(hiding.map(|hiding| format!("{hiding:?} hides a failure")));
    }
    if job.get("permissions").is_some_and(may_write) {
        found.extend(of_writer(job, script));
    }
    found
}

/// What a job that may write must not do: who can make it run something of his can publish and sign in this repository's name.
fn of_writer(job: &Value, script: &dyn Fn(&str) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    for used in values(job, "uses").into_iter().filter_map(Value::as_str) {
        if used.starts_with("./") || used.starts_with("actions/setup-") || used.starts_with("actions/cache") {
            found.push(format!("it may write, and uses {used}"));
        }
    }
    for command in steps(job).filter_map(|step| step["run"].as_str()) {
        let scripts = words(command).into_iter().filter(|word| word.starts_with(".ci/"));
        let texts: Vec<(String, String)> =
            scripts.map(|name| (name.to_owned(), script(name).unwrap_or_default())).collect();
        let all =
            std::iter::once(("a step", command)).chain(texts.iter().map(|(name, text)| (name.as_str(), text.as_str())));
        for (place, text) in all {
            let builders = words(text).into_iter().filter(|word| BUILDERS.contains(word)).collect::<BTreeSet<_>>();
            found.extend(builders.into_iter().map(|builder| format!("it may write, and {place} runs {builder}")));
        }
    }
    found
}

/// Jobs that may write although the checks did not pass, and checks that are not made.
fn unchecked(workflows: &BTreeMap<&str, Value>) -> Vec<String> {
    let mut found = Vec::new();
    let commands: Vec<Vec<&str>> = workflows
        .get(CHECKS)
        .into_iter()
        .flat_map(jobs)
        .flat_map(|(_, job)| steps(job))
        .filter_map(|step| step["run"].as_str().map(words))
        .collect();
    for wanted in CHECKED {
        let wanted_words = words(wanted);
        let runs = |command: &Vec<&str>| command.windows(wanted_words.len()).any(|part| part == wanted_words);
        if !commands.iter().any(runs) {
            found.push(format!("{CHECKS}: no step runs {wanted}"));
        }
    }
    for (file, workflow) in workflows {
        let all: BTreeMap<&str, &Value> = jobs(workflow).collect();
        for (name, job) in all.iter().filter(|(_, job)| job.get("permissions").is_some_and(may_write)) {
            if job.get("if").is_some() {
                found.push(format!(
                    "{file}: job {name}: it may write, and has an `if`, which can let it run after a failure"
                ));
            }
            if !is_checked(name, &all, &mut BTreeSet::new()) {
                found.push(format!("{file}: job {name}: it may write, and does not need {CHECKS}"));
            }
        }
    }
    found
}

/// Whether a job waits for the checks, by whatever it needs.
fn is_checked<'a>(name: &'a str, jobs: &BTreeMap<&'a str, &'a Value>, seen: &mut BTreeSet<&'a str>) -> bool {
    let Some(job) = jobs.get(name).filter(|_| seen.insert(name)) else { return false };
    let uses = job["uses"].as_str().is_some_and(|used| used.ends_with(&format!("/{CHECKS}")));
    let needs: Vec<&str> = match &job["needs"] {
        Value::String(need) => vec![need],
        Value::Array(needs) => needs.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    uses || needs.into_iter().any(|need| is_checked(need, jobs, seen))
}

fn may_write(permissions: &Value) -> bool {
    match permissions {
        Value::String(all) => all != "read-all",
        Value::Object(each) => each.values().any(|right| right == "write"),
        _ => false,
    }
}

fn jobs(workflow: &Value) -> impl Iterator<Item = (&str, &Value)> {
    workflow.get("jobs").and_then(Value::as_object).into_iter().flatten().map(|(name, job)| (name.as_str(), job))
}

fn steps(job: &Value) -> impl Iterator<Item = &Value> {
    job.get("steps").and_then(Value::as_array).into_iter().flatten()
}

/// Every value of a key, wherever it is.
fn values<'a>(value: &'a Value, key: &str) -> Vec<&'a Value> {
    let of = |object: &'a Map<String, Value>| -> Vec<&'a Value> {
        object.get(key).into_iter().chain(object.values().flat_map(|value| values(value, key))).collect()
    };
    match value {
        Value::Object(object) => of(object),
        Value::Array(array) => array.iter().flat_map(|value| values(value, key)).collect(),
        _ => Vec::new(),
    }
}

/// The words of a script, without its comments.
fn words(script: &str) -> Vec<&str> {
    let lines = script.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines
        .flat_map(|line| line.split([' ', '\t', ';', '|', '&', '(', ')', '"', '\'', '`', '$', '{', '}']))
        .filter(|word| !word.is_empty())
        .collect()
}

/// What the lines of a workflow use.
fn uses(workflow: &str) -> impl Iterator<Item = &str> {
    workflow.lines().map(str::trim).filter(|line| line.trim_start_matches("- ").starts_with("uses:"))
}

/// The lines that use an action of somebody else by something that can be moved: a tag or a branch.
fn unpinned(workflow: &str) -> impl Iterator<Item = &str> {
    uses(workflow).filter(|line| {
        let used = line.trim_start_matches("- ").strip_prefix("uses:").map(str::trim);
        used.is_some_and(|used| !used.starts_with("./") && !is_pinned(used))
    })
}

/// Whether a use reads `owner/action@COMMIT # vVERSION`.
fn is_pinned(used: &str) -> bool {
    let Some((action, version)) = used.split_once(" # v") else { return false };
    let commit = action.split_once('@').map_or("", |(_, commit)| commit.trim_end());
    let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    commit.len() == 40 && commit.bytes().all(hexadecimal) && version.starts_with(|digit: char| digit.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    /// What is found in a workflow beside sound checks.
    fn found(workflow: &str) -> Vec<String> {
        let checks =
            "permissions: {}\njobs: {a: {timeout-minutes: 1, steps: [{run: .ci/run}, {run: .ci/advisories required}]}}";
        let files = [File { name: CHECKS, text: checks }, File { name: "x.yaml", text: workflow }];
        let script = |name: &str| (name == ".ci/builds").then(|| "# go slowly\nset -e\ncargo build".to_owned());
        findings(&files, &script)
    }

    /// What is found in a job of a workflow that is sound but for it.
    fn found_in_job(job: &str) -> Vec<String> {
        let checks = format!("  checks:\n    uses: ./.github/workflows/{CHECKS}\n");
        let job: String = job.lines().map(|line| format!("    {line}\n")).collect();
        let found = found(&format!("permissions: {{}}\njobs:\n{checks}  a:\n    timeout-minutes: 5\n{job}"));
        found.into_iter().map(|finding| finding.replacen("x.yaml: job a: ", "", 1)).collect()
    }

    #[test]
    fn what_can_be_moved_is_found() {
        let workflow = format!(
            "jobs:\n  a:\n    uses: ./.github/workflows/ci.yaml\n    steps:\n      - uses: a/b@{COMMIT} # v1.2.3\n      \
             - uses: a/tag@v1\n      - name: x\n        uses: a/branch@main # v1\n      - uses: a/bare@{COMMIT}\n"
        );
        let found: Vec<&str> = unpinned(&workflow).collect();
        let bare = format!("- uses: a/bare@{COMMIT}");
        assert_eq!(found, ["- uses: a/tag@v1", "uses: a/branch@main # v1", bare.as_str()]);
    }

    #[test]
    fn what_is_not_on_a_line_of_its_own_is_found() {
        let found = found_in_job("steps:\n  - {name: x, uses: a/tag@v1}");
        assert_eq!(found, ["x.yaml: 2 actions are used, but 1 lines say `uses:`: write one to a line"]);
    }

    #[test]
    fn who_may_write_builds_nothing() {
        let writer = "needs: checks\npermissions: {id-token: write}\nsteps:\n";
        assert_eq!(
            found_in_job(&format!("{writer}  - run: cosign sign x # cargo-like\n  - run: gh release create")),
            [""; 0]
        );
        for (step, finding) in [
            ("run: FOO=1 cargo install x", "it may write, and a step runs cargo"),
            ("run: true && (go build)", "it may write, and a step runs go"),
            ("run: .ci/builds now", "it may write, and .ci/builds runs cargo"),
        ] {
            assert_eq!(found_in_job(&format!("{writer}  - {step}")), [finding], "{step}");
        }
        let used = format!("actions/setup-go@{COMMIT}");
        let found = found_in_job(&format!("{writer}  - uses: {used} # v1.0.0"));
        assert_eq!(found, [format!("it may write, and uses {used}")]);
    }

    #[test]
    fn who_may_write_waits_for_the_checks() {
        let steps = "steps:\n  - run: gh release create";
        let found = found_in_job(&format!("permissions: {{contents: write}}\n{steps}"));
        assert_eq!(found, ["it may write, and does not need ci.yaml"]);
        let found = found_in_job(&format!("permissions: {{contents: write}}\nneeds: [checks]\nif: always()\n{steps}"));
        assert_eq!(found, ["it may write, and has an `if`, which can let it run after a failure"]);
    }

    #[test]
    fn checks_that_check_nothing_are_found() {
        let checks = "permissions: {}\njobs: {a: {timeout-minutes: 1, steps: [{run: '.ci/advisories if-reachable'}]}}";
        let found = findings(&[File { name: CHECKS, text: checks }], &|_| None);
        assert_eq!(found, ["ci.yaml: no step runs .ci/run", "ci.yaml: no step runs .ci/advisories required"]);
    }

    #[test]
    fn what_hides_a_failure_is_found() {
        assert_eq!(found_in_job("steps:\n  - run: x || true"), ["\"|| true\" hides a failure"]);
        let found = found_in_job("steps:\n  - run: x\n    continue-on-error: true");
        assert_eq!(found, ["x.yaml: continue-on-error hides a failure"]);
    }

    #[test]
    fn rights_are_given_to_single_jobs() {
        assert!(found("jobs: {}").iter().any(|finding| finding.contains("say `permissions:`")));
        for all in ["write-all", "{contents: write}"] {
            let found = found(&format!("permissions: {all}\njobs: {{}}"));
            assert_eq!(found, ["x.yaml: give the right to write to single jobs"]);
        }
        let checkout = format!("steps:\n  - uses: actions/checkout@{COMMIT} # v7.0.1");
        assert_eq!(found_in_job(&checkout), ["checkout leaves its token behind: say persist-credentials: false"]);
    }
}

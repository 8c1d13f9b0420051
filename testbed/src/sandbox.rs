//! Namespaces in which a node can run as if it had the machine for itself.
//!
//! A sandbox has its own network (interfaces, addresses, iptables, sysctls), its own processes and its own mounts. The
//! kernel ends every process in it together with its first one, unmounts everything and removes the interfaces, so
//! containers need no tidying up; only for the link to the machine it takes its time, so that is removed at once. That first process is a shell which ends when a pipe closes whose other end this
//! process holds: a sandbox never outlives its owner, however that one ends.
//!
//! What is not in any namespace are control groups, whose folders the supervisor removes, and a few of the kernel's
//! settings that a kubelet insists on: inside, it finds them as it wants them (see [`FIRST_PROCESS`]).

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

use crate::error::TestbedError;
use crate::packages::path;
use crate::process::{DataFolder, ServerProcess, shell};

/// The name of the sandbox's own end of the link to the machine.
const UPLINK: &str = "uplink";
/// How long the namespaces may take to be there. It is some milliseconds.
const STARTED_WITHIN: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);
/// How many times an unused network is looked for.
const NETWORK_ATTEMPTS: u32 = 20;

/// Runs the first process in new namespaces, which need a mount point for what a kubelet keeps at a fixed path; once all
/// in them are gone, removes the link to them and their control groups. `$1` is the script of the first process, `$2` the data folder, `$3` a
/// control group and the rest groups in it, each made in every hierarchy of the machine with all it can limit. Standard
/// output is the hold on the data folder, as in `process.rs`; standard input closes when the owner wants an end or has
/// ended.
const SUPERVISOR: &str = r#"
exec 3<&0 </dev/null
first=$1 folder=$2 group=$3
shift 3
hierarchies=$(while read -r _ at type _; do case $type in cgroup|cgroup2) echo "$at";; esac; done </proc/mounts)
made=
[ -d /var/lib/kubelet ] || { mkdir /var/lib/kubelet && made=/var/lib/kubelet; }
pass_on() {
    for controller in $(cat "$1/cgroup.controllers" 2>/dev/null); do
        echo "+$controller" >"$1/cgroup.subtree_control"
    done
}
for at in $hierarchies; do
    pass_on "$at"
    for name in "$group" "$@"; do
        mkdir "$at/$name"
        # A group of the first version of cpuset takes no process before it has these; the second has them by itself.
        if [ -e "$at/cpuset.cpus" ] && [ ! -e "$at/cgroup.controllers" ]; then
            cat "$at/cpuset.cpus" >"$at/$name/cpuset.cpus"
            cat "$at/cpuset.mems" >"$at/$name/cpuset.mems"
        fi
        [ "$name" != "$group" ] || pass_on "$at/$name"
    done
done
unshare --mount --net --pid --fork --kill-child -- sh -c "$first" testbed-sandbox "$folder" >&2
status=$?
# The kernel removes it together with the namespace of its other end, but only when it comes to that.
ip link delete "mro${group#mro-testbed-}" 2>/dev/null
[ -z "$made" ] || rmdir "$made"
for at in $hierarchies; do
    # A group is busy for a moment after its last process has ended.
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
        find "$at/$group" -depth -type d -exec rmdir {} + && break
        sleep 0.1
    done
done
exit "$status"
"#;

/// The first process: says which process it is (as the machine counts), sets up the mounts, and waits for the end.
///
/// A kubelet wants some settings of the kernel changed that every process of the machine shares, and refuses to start
/// (`protectKernelDefaults`) or changes them if they are otherwise. It is shown files instead that say what it wants.
/// `/run`, `/var/lib/kubelet` and `/var/log` are where containerd, CNI, iptables and the kubelet keep sockets, locks and
/// links at fixed paths.
const FIRST_PROCESS: &str = r#"
set -eu
read -r pid _ </proc/self/stat
mount --make-rshared /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
for setting in vm/overcommit_memory=1 vm/panic_on_oom=0 kernel/panic=10 kernel/panic_on_oops=1 \
    kernel/keys/root_maxkeys=1000000 kernel/keys/root_maxbytes=25000000; do
    file="/run/$(echo "${setting%=*}" | tr / -)"
    echo "${setting#*=}" >"$file"
    mount --bind "$file" "/proc/sys/${setting%=*}"
done
mount -t tmpfs tmpfs /var/lib/kubelet
mkdir "$1/log"
mount --bind "$1/log" /var/log
echo "$pid" >"$1/sandbox.new"
mv "$1/sandbox.new" "$1/sandbox.pid"
(while read -r _; do :; done) <&3 &
wait $!
"#;

/// Namespaces of their own, and a link into them. Dropping it ends everything inside.
pub(crate) struct Sandbox {
    _server: ServerProcess,
    /// The first process.
    pid: u32,
    /// The address at which the inside is reached from the machine.
    address: Ipv4Addr,
    /// The control group everything is in that is in one, below the machine's root group.
    cgroup: String,
}

impl Sandbox {
    /// Makes the namespaces and connects them with the machine, and with nothing else. `parts` name control groups in the
    /// sandbox's own.
    pub(crate) async fn start(folder: &DataFolder, parts: &[String]) -> Result<Self, TestbedError> {
        let id = format!("{:08x}", rand::random::<u32>());
        let cgroup = format!("mro-testbed-{id}");
        let mut supervisor = shell(SUPERVISOR, "testbed-supervisor");
        supervisor.arg(FIRST_PROCESS).arg(folder.path()).arg(&cgroup);
        supervisor.args(parts.iter().map(|part| format!("{cgroup}/{part}")));
        let mut server = ServerProcess::supervise("sandbox", supervisor, folder)?;
        let pid = first_process(&mut server, &folder.path().join("sandbox.pid")).await?;
        let address = connect(pid, &format!("mro{id}")).await?;
        Ok(Self { _server: server, pid, address, cgroup })
    }

    /// The address at which what listens inside is reached from the machine, and from the sandbox's own pods.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// The control group of one of the parts, as an absolute path of the hierarchy.
    pub(crate) fn cgroup(&self, part: &str) -> String {
        format!("/{}/{part}", self.cgroup)
    }

    /// The command line that runs `command` inside. It is killed together with the `nsenter` in front of it.
    pub(crate) fn enter(&self, command: impl IntoIterator<Item = impl Into<OsString>>) -> Vec<OsString> {
        let mut line: Vec<OsString> = ["nsenter", "--mount", "--net", "--pid", "--target"].map(OsString::from).into();
        line.push(self.pid.to_string().into());
        line.extend(["--", "setpriv", "--pdeathsig", "KILL", "--"].map(OsString::from));
        line.extend(command.into_iter().map(Into::into));
        line
    }

    /// Kills the processes in those of the sandbox's control groups whose path is `wanted`, except for those called
    /// `spared`; how many there were.
    pub(crate) fn kill(&self, wanted: impl Fn(&str) -> bool, spared: &str) -> Result<usize, TestbedError> {
        let failed = |source| TestbedError::Process { program: "kill".to_owned(), source };
        let mut killed = 0;
        for entry in std::fs::read_dir("/proc").map_err(failed)?.filter_map(Result::ok) {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            // What cannot be read has ended meanwhile.
            let read = |name: &str| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
            let is_ours = read("cgroup").lines().any(|group| group.contains(&self.cgroup) && wanted(group));
            if !is_ours || read("comm").trim() == spared {
                continue;
            }
            if let Some(process) = Pid::from_raw(id) {
                kill_process(process, Signal::KILL).map_err(|error| failed(error.into()))?;
                killed += 1;
            }
        }
        Ok(killed)
    }

    /// Runs a command inside to its end, and returns what it printed on standard output.
    pub(crate) async fn run(
        &self,
        command: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Result<String, TestbedError> {
        run(self.enter(command)).await
    }
}

/// Waits until the first process has said which it is.
async fn first_process(server: &mut ServerProcess, file: &Path) -> Result<u32, TestbedError> {
    let started = Instant::now();
    loop {
        if let Some(pid) = std::fs::read_to_string(file).ok().and_then(|text| text.trim().parse().ok()) {
            return Ok(pid);
        }
        if let Some(status) = server.ended()? {
            return Err(TestbedError::Ended { program: server.name().to_owned(), status, log: server.log() });
        }
        if started.elapsed() >= STARTED_WITHIN {
            let (program, answer) = (server.name().to_owned(), "none".to_owned());
            return Err(TestbedError::NotReady { program, bound: STARTED_WITHIN, answer, log: server.log() });
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Links the machine with the network of the process `pid`; `name` is the machine's end. Returns the inner address.
///
/// The two addresses are of 198.18.0.0/15, which is set aside for tests of network devices (RFC 2544) and so nobody's.
async fn connect(pid: u32, name: &str) -> Result<Ipv4Addr, TestbedError> {
    let (outer, inner) = unused_network().await?;
    let (pid, outer, cidr) = (pid.to_string(), format!("{outer}/30"), format!("{inner}/30"));
    let inside = ["nsenter", "--net", "--target", &pid, "--"];
    // `--target`'s /proc is the machine's here, so that this works before anything else does.
    run(["ip", "link", "add", name, "type", "veth", "peer", "name", UPLINK, "netns", &pid]).await?;
    run(["ip", "address", "add", &outer, "dev", name]).await?;
    run(["ip", "link", "set", name, "up"]).await?;
    for command in [
        &["ip", "link", "set", "lo", "up"][..],
        &["ip", "address", "add", &cidr, "dev", UPLINK],
        &["ip", "link", "set", UPLINK, "up"],
        &["sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"],
    ] {
        run(inside.iter().chain(command)).await?;
    }
    Ok(inner)
}

/// Two neighbouring addresses that this machine has no route of their own for.
async fn unused_network() -> Result<(Ipv4Addr, Ipv4Addr), TestbedError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let network = u32::from(Ipv4Addr::new(198, 18, 0, 0)) + (rand::random::<u32>() % (1 << 15)) * 4;
        let cidr = format!("{}/30", Ipv4Addr::from(network));
        let routes = run(["ip", "-4", "route", "show", "exact", &cidr]).await?;
        if routes.trim().is_empty() || attempt >= NETWORK_ATTEMPTS {
            return Ok((Ipv4Addr::from(network + 1), Ipv4Addr::from(network + 2)));
        }
    }
}

/// Runs a command line to its end, and returns what it printed on standard output.
pub(crate) async fn run(line: impl IntoIterator<Item = impl Into<OsString>>) -> Result<String, TestbedError> {
    let line: Vec<OsString> = line.into_iter().map(Into::into).collect();
    let (program, arguments) =
        line.split_first().map_or((OsString::new(), &[][..]), |(first, rest)| (first.clone(), rest));
    let output =
        Command::new(&program).args(arguments).env("PATH", path()).current_dir("/").kill_on_drop(true).output().await;
    let output =
        output.map_err(|source| TestbedError::Process { program: program.to_string_lossy().into_owned(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(TestbedError::Command {
        command: line.join(std::ffi::OsStr::new(" ")).to_string_lossy().into_owned(),
        status: output.status,
        output: said.trim().to_owned(),
    })
}

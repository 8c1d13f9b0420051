//! A network for one operator: a network namespace behind a router, which can drop packets silently. Needs Linux, root, `ip` and
//! `iptables`.

use std::net::Ipv4Addr;
use std::process::Command;

/// The network namespaces of an operator and of the router between it and this machine. Dropping this removes them.
pub(crate) struct RoutedNetwork {
    operator: String,
    router: String,
    host: Ipv4Addr,
}

impl RoutedNetwork {
    /// Creates them, with names and addresses that no other process uses.
    pub(crate) fn create() -> Self {
        let id = std::process::id();
        // One of 4096 networks of eight addresses.
        let address = |host: u32| Ipv4Addr::from(0x0ae8_0000 + id % 4096 * 8 + host);
        let link = Self { operator: format!("mro-o{id}"), router: format!("mro-r{id}"), host: address(1) };
        let (operator, router) = (link.operator.as_str(), link.router.as_str());
        let (to_router, to_host) = (format!("mroh{id}"), format!("mror{id}"));
        for name in [operator, router] {
            ip(&format!("netns add {name}"));
            ip(&format!("-n {name} link set lo up"));
        }
        ip(&format!("link add {to_router} type veth peer name {to_host} netns {router}"));
        ip(&format!("-n {router} link add inner type veth peer name outer netns {operator}"));
        ip(&format!("addr add {}/30 dev {to_router}", address(1)));
        ip(&format!("link set {to_router} up"));
        for (place, device, own) in [(router, to_host.as_str(), 2), (router, "inner", 5), (operator, "outer", 6)] {
            ip(&format!("-n {place} addr add {}/30 dev {device}", address(own)));
            ip(&format!("-n {place} link set {device} up"));
        }
        ip(&format!("-n {operator} route add default via {}", address(5)));
        ip(&format!("route add {}/30 via {}", address(4), address(2)));
        link.on_router("sysctl -qw net.ipv4.ip_forward=1");
        link
    }

    /// The address at which the operator reaches this machine.
    pub(crate) fn host(&self) -> Ipv4Addr {
        self.host
    }

    /// The namespace for the operator.
    pub(crate) fn namespace(&self) -> &str {
        &self.operator
    }

    /// Drops all further packets of the connections that are open now, both ways. No side is notified; new connections work.
    pub(crate) fn swallow_what_is_open(&self) {
        let table = run(&format!("ip netns exec {} cat /proc/net/tcp", self.operator));
        let established = table.lines().filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            let (local, _, state) = (words.next()?, words.next()?, words.next()?);
            let port = u16::from_str_radix(local.split_once(':')?.1, 16).ok()?;
            (state == "01").then_some(port)
        });
        let mut count = 0;
        for port in established {
            count += 1;
            self.on_router(&format!("iptables -w -A FORWARD -p tcp --sport {port} -j DROP"));
            self.on_router(&format!("iptables -w -A FORWARD -p tcp --dport {port} -j DROP"));
        }
        assert!(count > 0, "no connection in\n{table}");
    }

    fn on_router(&self, command: &str) {
        run(&format!("ip netns exec {} {command}", self.router));
    }
}

impl Drop for RoutedNetwork {
    fn drop(&mut self) {
        for name in [&self.operator, &self.router] {
            // The links and routes go with them.
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

fn ip(arguments: &str) {
    run(&format!("ip {arguments}"));
}

fn run(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().expect("sh runs");
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

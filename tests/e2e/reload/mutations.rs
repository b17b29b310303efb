//! Configs with one fault each, of every kind, anywhere: none is applied, and
//! none does harm.

use super::{ends, start};
use crate::support::clients::Http1;
use http::Method;

/// How many.
const MUTATIONS: u64 = 100;

/// A generator of numbers that are the same each time.
struct Dice(u64);

impl Dice {
    /// A number below `limit`.
    fn roll(&mut self, limit: usize) -> usize {
        // The constants of Knuth's MMIX.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % limit
    }

    /// One of the places where `text` holds `mark`.
    fn place(&mut self, text: &str, mark: &str) -> usize {
        let places: Vec<_> = text.match_indices(mark).map(|(at, _)| at).collect();
        places[self.roll(places.len())]
    }
}

/// A config that cannot be right.
fn mutated(config: &str, dice: &mut Dice) -> String {
    let mut text = config.to_owned();
    match dice.roll(8) {
        // A string that does not end.
        0 => drop(text.remove(dice.place(config, "\""))),
        // A table that nobody knows, or a name that is no name.
        1 => text.insert(dice.place(config, "]\n"), '?'),
        // A key that nobody knows.
        2 => text.insert_str(dice.place(config, "\n[") + 1, "surprise = 1\n"),
        // A key twice.
        3 => {
            let at = dice.place(config, "listen =");
            text.insert_str(at, "listen = \"127.0.0.1:0\"\n");
        }
        // A value of another kind.
        4 => {
            let at = dice.place(config, "= \"") + 2;
            text.replace_range(at..=at, "17 # \"");
        }
        // An upstream that is not there.
        5 => {
            let at = dice.place(config, "upstream = \"site\"") + "upstream = \"".len();
            text.insert(at, 'x');
        }
        // A time without a unit.
        6 => {
            let at = dice.place(config, "s\"\n");
            text.remove(at);
        }
        // An end too early.
        _ => {
            let at = dice.place(config, "= \"") + 4;
            text.truncate(at);
        }
    }
    text
}

#[tokio::test]
async fn no_config_with_a_fault_is_applied_or_does_harm() {
    let (proxy, _server, config) = start().await;
    let mut client = Http1::connect(proxy.address("web")).await;
    let before = proxy.json("/v1/status").await;
    for seed in 0..MUTATIONS {
        let text = mutated(&config, &mut Dice(seed));
        proxy.write_config(&text);
        let reply = proxy.ask(Method::POST, "/v1/reload", "").await;
        assert_eq!(reply.status, 422, "{seed}: {}\n{text}", reply.text());
        assert!(
            reply.text().contains("ebbtide.toml"),
            "{seed}: it says where"
        );
        assert_eq!(
            client.get("/").await.expect("an answer").status,
            200,
            "{seed}"
        );
    }
    let after = proxy.json("/v1/status").await;
    for what in ["phase", "ready", "listeners", "upstreams", "plan"] {
        assert_eq!(after[what], before[what], "{what}");
    }
    drop(client);
    ends(proxy).await;
}

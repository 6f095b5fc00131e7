//! Visitors of a shop that does not exist.

use serde_json::json;

use super::Event;

const PAGES: [&str; 12] = [
    "/",
    "/search",
    "/category/books",
    "/category/music",
    "/category/garden",
    "/item/1048",
    "/item/2210",
    "/item/3377",
    "/basket",
    "/checkout",
    "/account",
    "/help",
];
const REFERRERS: [&str; 5] = [
    "",
    "https://search.example/",
    "https://social.example/",
    "https://news.example/",
    "mail",
];

/// Users who are on the site at the same time.
const VISITORS: usize = 300;
/// Users there are.
const USERS: u64 = 2_000;

/// Makes the same clicks for the same seed: users come, open some pages, and go.
#[derive(Debug)]
pub(crate) struct Generator {
    rng: fastrand::Rng,
    visitors: Vec<Visitor>,
    sessions: u64,
    done: u64,
    whole: u64,
}

#[derive(Debug)]
struct Visitor {
    user: u64,
    session: u64,
    referrer: &'static str,
    clicks_left: u32,
}

impl Generator {
    pub(crate) fn new(seed: u64, events: u64) -> Self {
        let mut generator = Self {
            rng: fastrand::Rng::with_seed(seed),
            visitors: Vec::with_capacity(VISITORS),
            sessions: 0,
            done: 0,
            whole: events,
        };
        for _ in 0..VISITORS {
            let visitor = generator.visitor();
            generator.visitors.push(visitor);
        }
        generator
    }

    pub(super) fn done(&self) -> u64 {
        self.done
    }

    pub(super) fn whole(&self) -> u64 {
        self.whole
    }

    fn visitor(&mut self) -> Visitor {
        self.sessions += 1;
        Visitor {
            user: self.rng.u64(0..USERS),
            session: self.sessions,
            referrer: REFERRERS[self.rng.usize(..REFERRERS.len())],
            clicks_left: self.rng.u32(1..=40),
        }
    }
}

impl Iterator for Generator {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        if self.done == self.whole {
            return None;
        }
        self.done += 1;
        let index = self.rng.usize(..self.visitors.len());
        if self.visitors[index].clicks_left == 0 {
            self.visitors[index] = self.visitor();
        }
        let page = PAGES[self.rng.usize(..PAGES.len())];
        let visitor = &mut self.visitors[index];
        visitor.clicks_left -= 1;
        let referrer = std::mem::replace(&mut visitor.referrer, page);
        let key = format!("user-{:04}", visitor.user);
        let click = json!({ "user": key, "session": visitor.session, "page": page, "referrer": referrer });
        Some(Event {
            key,
            payload: click.to_string().into_bytes(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_decides_everything() {
        let clicks = |seed| Generator::new(seed, 500).collect::<Vec<_>>();
        assert_eq!(clicks(1).len(), 500);
        assert_eq!(clicks(1), clicks(1));
        assert_ne!(clicks(1), clicks(2));
    }

    #[test]
    fn a_user_s_next_click_comes_from_the_page_before() {
        let clicks: Vec<serde_json::Value> = Generator::new(1, 3_000)
            .map(|click| serde_json::from_slice(&click.payload).unwrap())
            .collect();
        let session: Vec<_> = clicks.iter().filter(|click| click["session"] == 1).collect();
        assert!(!session.is_empty());
        assert!(
            session
                .windows(2)
                .all(|pair| pair[1]["referrer"] == pair[0]["page"])
        );
    }
}

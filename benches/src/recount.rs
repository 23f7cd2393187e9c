//! What all events that were sent must add up to, and whether the server says so. It counts from the
//! prepared bodies and how often each was sent, and shares no code with the server.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::calendar::second_of;
use crate::corpus::{MODELS, ROUTES, subject_name};
use crate::load::Generator;
use crate::wire::Http;
use crate::{Fail, because};

/// Exact sums over everything sent, each event once.
#[derive(Clone, Debug, Default)]
pub struct Recount {
    pub events: u64,
    minutes: BTreeMap<i64, u64>,
    /// By subject and model.
    tokens: HashMap<(String, &'static str), u64>,
    routes: BTreeMap<&'static str, u64>,
    /// In thousandths.
    duration: u128,
    slowest: u32,
    /// A bit for each user of a subject.
    users: HashMap<u32, u32>,
}

#[derive(Debug, Deserialize)]
struct Usage<'a> {
    #[serde(borrow)]
    data: Vec<Row<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    #[serde(borrow)]
    value: &'a RawValue,
    window_start: String,
    subject: Option<String>,
    group_by: HashMap<String, String>,
}

impl Recount {
    pub fn of(generator: &Generator) -> Self {
        let mut all = Self::default();
        for sender in generator.senders() {
            for (minute, events) in sender.stamp.minutes() {
                *all.minutes.entry(minute).or_default() += events;
            }
            for (template, times) in
                sender.templates.iter().zip(&sender.sent).filter(|(_, times)| **times > 0)
            {
                for (fact, sums) in template.facts.iter().zip(&template.sums) {
                    all.events += times;
                    let key = (subject_name(fact.subject), MODELS[usize::from(fact.model)]);
                    *all.tokens.entry(key).or_default() += sums.tokens;
                    *all.routes.entry(ROUTES[usize::from(fact.route)]).or_default() += times;
                    all.duration += u128::from(sums.duration);
                    all.slowest = all.slowest.max(sums.slowest);
                    *all.users.entry(fact.subject).or_default() |= sums.users;
                }
            }
        }
        all
    }

    /// Asks every meter and compares; the error names the first difference.
    pub async fn check(&self, address: SocketAddr) -> Result<(), Fail> {
        let mut http = Http::connect(address).await?;
        let mut ask = async |what: &str| http.get(&format!("/api/v1/meters/{what}"), "").await;

        let answer = ask("requests/query?windowSize=MINUTE").await?;
        let minutes = rows(&answer)?.iter().map(minute).collect::<Result<BTreeMap<_, _>, Fail>>()?;
        same("events by minute", &minutes, &self.minutes)?;

        let answer = ask("requests/query?groupBy=route").await?;
        let found = rows(&answer)?;
        let routes =
            found.iter().map(|row| Ok((group(row, "route")?, whole(row)?))).collect::<Result<_, Fail>>()?;
        same("events by route", &routes, &self.routes)?;

        let answer = ask("tokens/query?groupBy=subject&groupBy=model").await?;
        let found = rows(&answer)?;
        if found.len() != self.tokens.len() {
            return Err(differs("rows of tokens by subject and model", found.len(), self.tokens.len()));
        }
        for row in &found {
            let subject = row.subject.clone().unwrap_or_default();
            let model = MODELS.iter().find(|model| group(row, "model").is_ok_and(|g| g == **model));
            let expected = model.and_then(|model| self.tokens.get(&(subject.clone(), *model)));
            if expected != Some(&whole(row)?) {
                return Err(differs(
                    &format!("tokens of {subject}"),
                    row.value.get(),
                    format!("{expected:?}"),
                ));
            }
        }

        let slowest = thousandths(&ask("slowest/query").await?)?;
        same("slowest", &slowest, &i128::from(self.slowest))?;
        let users = thousandths(&ask("users/query").await?)? / 1_000;
        same("users", &users, &self.users.values().map(|users| i128::from(users.count_ones())).sum())?;
        self.check_average(&ask("duration/query").await?)
    }

    /// Only that every event counted, and some more that did not come from this generator.
    pub async fn check_count(&self, address: SocketAddr, more: u64) -> Result<(), Fail> {
        let mut http = Http::connect(address).await?;
        let answer = http.get("/api/v1/meters/requests/query", "").await?;
        same("events", &(thousandths(&answer)? / 1_000), &i128::from(self.events + more))
    }

    /// An average has 28 digits; here 12 after the point are compared.
    fn check_average(&self, answer: &[u8]) -> Result<(), Fail> {
        let found = rows(answer)?;
        let text = found.first().ok_or_else(|| because("no average"))?.value.get();
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        let digits: String = fraction.chars().chain("0".repeat(12).chars()).take(12).collect();
        let trillionths: i128 = format!("{whole}{digits}").parse()?;
        let sum = self.duration as i128 * 1_000_000_000;
        let off = sum - trillionths * i128::from(self.events);
        if off.unsigned_abs() > u128::from(self.events) {
            return Err(differs("average duration", text, format!("{}/1000/{}", self.duration, self.events)));
        }
        Ok(())
    }
}

fn rows(answer: &[u8]) -> Result<Vec<Row<'_>>, Fail> {
    Ok(serde_json::from_slice::<Usage<'_>>(answer)?.data)
}

fn whole(row: &Row<'_>) -> Result<u64, Fail> {
    row.value.get().parse().map_err(|_| because(format!("{} is no whole number", row.value.get())))
}

fn minute(row: &Row<'_>) -> Result<(i64, u64), Fail> {
    let second = second_of(&row.window_start).ok_or_else(|| because("a window without start"))?;
    Ok((second.div_euclid(60), whole(row)?))
}

fn group<'r>(row: &'r Row<'_>, key: &str) -> Result<&'r str, Fail> {
    row.group_by.get(key).map(String::as_str).ok_or_else(|| because("a row without its group"))
}

/// The only value of an answer, in thousandths.
fn thousandths(answer: &[u8]) -> Result<i128, Fail> {
    let found = rows(answer)?;
    let text = found.first().ok_or_else(|| because("an answer without a value"))?.value.get();
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 {
        return Err(because(format!("{text} has more digits than any event")));
    }
    Ok(format!("{whole}{fraction:0<3}").parse()?)
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, sent: &T) -> Result<(), Fail> {
    if found == sent { Ok(()) } else { Err(differs(what, short(found), short(sent))) }
}

fn differs(what: &str, found: impl std::fmt::Display, sent: impl std::fmt::Display) -> Fail {
    because(format!("the answer is wrong. {what}: the server says {found}, sent were {sent}"))
}

fn short(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}").chars().take(2_000).collect()
}

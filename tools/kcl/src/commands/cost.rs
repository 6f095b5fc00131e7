//! `kcl cost`: what the table costs now, and with other settings.

mod model;

use std::time::Duration;

use aws_sdk_dynamodb::error::ProvideErrorMetadata as _;
use aws_sdk_dynamodb::types::{BillingMode, TableDescription};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use self::model::{Fleet, Prices, Units};
use crate::arguments::{CostArguments, Watching};
use crate::failure::{Failure, Status};
use crate::screen::{Columns, Ink, Line, Screen, count, span};
use crate::table::{Kind, Look, Table, options_of};

pub(super) async fn run(
    table: &Table,
    arguments: &CostArguments,
    screen: &mut Screen<'_>,
) -> Result<Status, Failure> {
    let described = describe(table).await?;
    let first = table.look().await?;
    screen.remark(format!("counting writes for {} ...", span(arguments.watch_for)))?;
    let started = Instant::now();
    sleep(arguments.watch_for).await;
    let last = table.look().await?;
    let watching = Watching {
        watch_for: None,
        failover_time: None,
        balancing: None,
        max_leases: None,
    };
    let failover_time = options_of(&last, &watching).failover_time;
    let lease_writes = lease_writes(&first, &last) / started.elapsed().as_secs_f64().max(0.001);
    let fleet = fleet(&last, lease_writes, failover_time);
    let prices = Prices {
        write: arguments.price_of_writes / 1e6,
        read: arguments.price_of_reads / 1e6,
        write_capacity_hour: arguments.price_of_write_capacity,
        read_capacity_hour: arguments.price_of_read_capacity,
    };
    let report = Cost {
        table: table.options.name().to_owned(),
        billing: described,
        seen: fleet.clone(),
        now: Setting::of(&fleet, failover_time, prices),
        others: arguments
            .failover_times
            .iter()
            .filter(|time| **time != failover_time && !time.is_zero())
            .map(|time| Setting::of(&fleet, *time, prices))
            .collect(),
    };
    if screen.json {
        screen.report(&report, false)?;
    } else {
        screen.lines(report.lines(prices))?;
    }
    Ok(Status::Fine)
}

/// How the table is paid for, as DynamoDB tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Billing {
    is_on_demand: bool,
    /// Provisioned capacity of the table and of its index each; zero on demand.
    read_capacity: i64,
    write_capacity: i64,
    /// As of the last six hours or so.
    items: i64,
    bytes: i64,
}

async fn describe(table: &Table) -> Result<Billing, Failure> {
    let request = table.client.describe_table().table_name(table.options.name());
    match request.send().await {
        Ok(answer) => Ok(answer.table.as_ref().map_or_else(Billing::unknown, Billing::of)),
        Err(error) if error.code() == Some("ResourceNotFoundException") => Err(Failure::Refused(format!(
            "there is no table {}; check --table or --application, the region and the account",
            table.options.name()
        ))),
        Err(error) => Err(Failure::Service {
            operation: "DescribeTable",
            message: kcl_lease::brief(&error),
        }),
    }
}

impl Billing {
    fn unknown() -> Self {
        Self {
            is_on_demand: true,
            read_capacity: 0,
            write_capacity: 0,
            items: 0,
            bytes: 0,
        }
    }

    fn of(table: &TableDescription) -> Self {
        let mode = table
            .billing_mode_summary()
            .and_then(|summary| summary.billing_mode());
        let capacity = table.provisioned_throughput();
        let units = |of: fn(&aws_sdk_dynamodb::types::ProvisionedThroughputDescription) -> Option<i64>| {
            capacity.and_then(of).unwrap_or(0)
        };
        let read_capacity = units(|capacity| capacity.read_capacity_units());
        Self {
            is_on_demand: mode == Some(&BillingMode::PayPerRequest) || read_capacity == 0,
            read_capacity,
            write_capacity: units(|capacity| capacity.write_capacity_units()),
            items: table.item_count().unwrap_or(0),
            bytes: table.table_size_bytes().unwrap_or(0),
        }
    }
}

/// How often leases were written between two looks: each renewal and each checkpoint adds one to a counter.
fn lease_writes(first: &Look, last: &Look) -> f64 {
    /// Whoever begins lifts the counter to the time, which says nothing of writes.
    const LIFTED: u64 = 100_000;
    let writes = last.snapshot.leases.iter().map(|lease| {
        let before = first
            .lease(&lease.key)
            .map_or(lease.counter, |before| before.counter);
        match lease.counter.saturating_sub(before) {
            writes if writes < LIFTED => writes,
            _ => 1,
        }
    });
    writes.sum::<u64>() as f64
}

fn fleet(look: &Look, lease_writes: f64, failover_time: Duration) -> Fleet {
    let holdings = look.holdings();
    let workers = || holdings.iter().filter(|(id, _)| look.worker(id).is_some());
    let of_java = workers().filter(|(id, _)| look.kind(id) == Kind::Java).count();
    let owned = look
        .snapshot
        .leases
        .iter()
        .filter(|lease| !lease.has_ended() && lease.owner.is_some());
    Fleet {
        rust_workers: workers().count() - of_java,
        java_workers: of_java,
        idle_workers: workers()
            .filter(|(id, holding)| holding.processes == 0 && look.kind(id) == Kind::Rust)
            .count(),
        owned_leases: owned.count(),
        scan_units: look.snapshot.read_units,
        lease_writes,
        failover_time_seconds: failover_time.as_secs_f64(),
        leader_is_java: look
            .leader()
            .is_some_and(|leader| look.kind(leader) == Kind::Java),
    }
}

/// What it costs.
#[derive(Debug, Serialize)]
struct Cost {
    table: String,
    billing: Billing,
    seen: Fleet,
    now: Setting,
    others: Vec<Setting>,
}

/// What a fail-over time costs.
#[derive(Debug, Serialize)]
struct Setting {
    failover_time_seconds: f64,
    units: Units,
    on_demand_dollars_per_month: f64,
    /// With capacity for twice what is used on average.
    provisioned_dollars_per_month: f64,
}

impl Setting {
    fn of(fleet: &Fleet, failover_time: Duration, prices: Prices) -> Self {
        let units = fleet.units(failover_time);
        Self {
            failover_time_seconds: failover_time.as_secs_f64(),
            units,
            on_demand_dollars_per_month: prices.on_demand(units),
            provisioned_dollars_per_month: prices.provisioned(units),
        }
    }
}

impl Cost {
    fn lines(&self, prices: Prices) -> Vec<Line> {
        let (seen, billing) = (&self.seen, &self.billing);
        let mut lines = vec![Line::of(Ink::Strong, self.table.as_str()).and(
            Ink::Plain,
            format!(
                ": {} with owners, {} Rust and {} Java workers; {:.1} lease writes/s counted, {:.1} read units for a scan",
                count(seen.owned_leases, "lease"), seen.rust_workers, seen.java_workers, seen.lease_writes, seen.scan_units
            ),
        )];
        lines.push(Line::from(match billing.is_on_demand {
            true => "Paid on demand.".to_owned(),
            false => format!(
                "Paid for {} read and {} write capacity units, for the table and for its index each: {:.2} dollars a month.",
                billing.read_capacity,
                billing.write_capacity,
                prices.capacity(billing.read_capacity as f64, billing.write_capacity as f64) * 2.0
            ),
        }));
        lines.push(Line::default());
        let mut columns = Columns::titled(&[
            "FAIL-OVER TIME",
            "WRITES/S",
            "READS/S",
            "ON DEMAND $/MONTH",
            "PROVISIONED $/MONTH",
        ]);
        let mut row = |setting: &Setting, ink, mark: &str| {
            columns.row([
                (
                    ink,
                    format!(
                        "{}{mark}",
                        span(Duration::from_secs_f64(setting.failover_time_seconds))
                    ),
                ),
                (ink, format!("{:.2}", setting.units.writes)),
                (ink, format!("{:.2}", setting.units.reads)),
                (ink, format!("{:.2}", setting.on_demand_dollars_per_month)),
                (ink, format!("{:.2}", setting.provisioned_dollars_per_month)),
            ]);
        };
        let others = self.others.iter().map(|other| (other, Ink::Plain, ""));
        let mut all: Vec<_> = others.chain([(&self.now, Ink::Strong, " (now)")]).collect();
        all.sort_by(|(a, ..), (b, ..)| a.failover_time_seconds.total_cmp(&b.failover_time_seconds));
        for (setting, ink, mark) in all {
            row(setting, ink, mark);
        }
        lines.extend(columns.lines());
        lines.push(Line::default());
        lines.push(Line::of(
            Ink::Faint,
            "Lease writes were counted; the rest is reckoned from the workers' timers. Provisioned: twice the average, index included. \
             Storage, backups and `kcl watch` come on top.",
        ));
        lines
    }
}

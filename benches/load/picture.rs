//! The comparison as a picture: for each operation, what was served a second beside what bounds it.

use std::fmt::Write as _;

use super::{
    CONNECTIONS,
    report::{Report, Row},
};

/// A tuned Node server with a compiling executor, measured before on the same kind of machine and PostgreSQL, not in this
/// run: requests per second over 32 connections.
const NODE: [(&str, f64); 5] = [
    ("conversation", 1_500.0),
    ("unreadMessages", 2_900.0),
    ("conversationPartners", 1_800.0),
    ("sendMessage", 3_300.0),
    ("readMessage", 3_000.0),
];

const WIDTH: f64 = 760.0;
const LEFT: f64 = 170.0;
const RIGHT: f64 = 160.0;
const BAR: f64 = 16.0;
const TOP: f64 = 64.0;

struct Bar {
    class: &'static str,
    what: &'static str,
    rate: f64,
}

/// An SVG that reads on light and on dark pages.
pub(crate) fn draw(report: &Report) -> String {
    let rows: Vec<(&Row, Vec<Bar>)> = report.shown().map(|row| (row, bars(row))).collect();
    let most = rows.iter().flat_map(|(_, bars)| bars).map(|bar| bar.rate);
    let most = most.fold(1.0, f64::max);
    let mut body = String::new();
    let mut y = TOP;
    for (row, bars) in &rows {
        let _ = write!(
            body,
            "<text class=\"name\" x=\"{}\" y=\"{:.0}\">{}</text>",
            LEFT - 10.0,
            y + 12.0,
            row.operation
        );
        for bar in bars {
            let width = bar.rate / most * (WIDTH - LEFT - RIGHT);
            let _ = write!(
                body,
                "<rect class=\"{}\" x=\"{LEFT}\" y=\"{y:.0}\" width=\"{width:.1}\" height=\"{}\"/>\
                 <text x=\"{:.1}\" y=\"{:.0}\">{} {}</text>",
                bar.class,
                BAR - 3.0,
                LEFT + width + 6.0,
                y + 11.0,
                grouped(bar.rate),
                bar.what
            );
            y += BAR;
        }
        y += 14.0;
    }
    let messages = rows.first().map_or(0, |(row, _)| row.messages);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y:.0}\" role=\"img\" \
         aria-label=\"Requests per second beside their limits\">\
         <style>text{{font:12px system-ui,sans-serif;fill:#1f2328}}.name{{text-anchor:end;font-weight:600}}\
         .title{{font-size:15px;font-weight:600}}.ours{{fill:#1f6feb}}.limit{{fill:#afb8c1}}.other{{fill:#d4a72c}}\
         @media(prefers-color-scheme:dark){{text{{fill:#e6edf3}}.limit{{fill:#57606a}}}}</style>\
         <text class=\"title\" x=\"10\" y=\"24\">Requests per second, {} connections, PostgreSQL with {} messages</text>\
         <text x=\"10\" y=\"44\">One machine with {} processors for the load, the server and the database.</text>\
         {body}</svg>\n",
        CONNECTIONS[0],
        grouped_count(messages),
        std::thread::available_parallelism().map_or(1, usize::from),
    )
}

fn bars(row: &Row) -> Vec<Bar> {
    let mut bars = vec![Bar {
        class: "ours",
        what: "",
        rate: row.figures.per_second,
    }];
    if let Some(rate) = row.bare {
        bars.push(Bar {
            class: "limit",
            what: "bare axum",
            rate,
        });
    } else if let Some(rate) = row.pgbench {
        bars.push(Bar {
            class: "limit",
            what: "bare INSERT",
            rate,
        });
    }
    let node = NODE.iter().find(|(name, _)| *name == row.operation);
    bars.extend(node.map(|(_, rate)| Bar {
        class: "other",
        what: "a Node server, in another run",
        rate: *rate,
    }));
    bars
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate"
)]
fn grouped(rate: f64) -> String {
    grouped_count(rate.round() as usize)
}

/// 12,345.
fn grouped_count(count: usize) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

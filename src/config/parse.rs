//! How settings are written.

use std::{fmt::Display, net::SocketAddr, ops::RangeInclusive, str::FromStr, time::Duration};

pub(super) fn parse_secret(text: &str) -> Result<String, String> {
    if text.len() < 32 {
        return Err(format!(
            "it has {} bytes: give at least 32, as `openssl rand -hex 32` makes them",
            text.len()
        ));
    }
    Ok(text.to_owned())
}

pub(super) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let advice =
        "give ADDRESS:PORT, as 127.0.0.1:8000, or 0.0.0.0:8000 for every address of this machine";
    text.parse().map_err(|_| advice.to_owned())
}

/// A switch, as people write it in a variable; nothing is off.
pub(super) fn parse_switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" | "" => Ok(false),
        _ => Err("give true or false".to_owned()),
    }
}

/// A whole number of a range, which is told to who gives another.
pub(super) fn whole<T>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Clone + Bounded + Send + Sync + 'static,
{
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ if *range.end() == T::MOST => {
            Err(format!("give a whole number from {} up", range.start()))
        }
        _ => {
            let (least, most) = (range.start(), range.end());
            Err(format!("give a whole number from {least} to {most}"))
        }
    }
}

/// A number's type that has an end.
pub(super) trait Bounded {
    const MOST: Self;
}

impl Bounded for u32 {
    const MOST: Self = Self::MAX;
}

impl Bounded for u64 {
    const MOST: Self = Self::MAX;
}

impl Bounded for usize {
    const MOST: Self = Self::MAX;
}

pub(super) fn parse_count(text: &str) -> Result<usize, String> {
    whole(1..=usize::MAX)(text)
}

pub(super) fn parse_seconds(text: &str) -> Result<Duration, String> {
    seconds_from(0.001, text)
}

/// Seconds, or none at all.
pub(super) fn parse_pause(text: &str) -> Result<Duration, String> {
    seconds_from(0.0, text)
}

fn seconds_from(least: f64, text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "give a number of seconds".to_owned())?;
    if (least..=86_400.0).contains(&seconds) {
        return Ok(Duration::from_secs_f64(seconds));
    }
    Err(format!("give {least} to 86400 seconds"))
}

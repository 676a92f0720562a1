//! The charts: what a delivery costs by the number of receivers, and what connections at rest take by their number.

use std::{fs, path::Path};

use anyhow::anyhow;
use plotters::prelude::*;

use crate::{
    compare::Outcome,
    contestant::Contestant,
    measurement::CPU,
    scenario::{Over, Scenario},
    stats::Estimate,
};

/// One server's line.
struct Line {
    server: Contestant,
    points: Vec<(f64, f64)>,
}

const SIZE: (u32, u32) = (760, 420);

/// CPU of a delivery, one broadcast of 128 B in flight, by receivers. Nothing is drawn when fewer than two were measured.
pub fn cost(outcomes: &[Outcome], path: &Path) -> anyhow::Result<()> {
    let points = |server: Contestant| {
        let mut points: Vec<(f64, f64)> = outcomes
            .iter()
            .filter_map(|outcome| {
                let Ok(Scenario::Broadcast {
                    receivers,
                    in_flight: 1,
                    bytes: 128,
                    senders: 1,
                    binary: false,
                }) = outcome.scenario.parse()
                else {
                    return None;
                };
                let estimate = Estimate::of(&outcome.of(server)?.figures(CPU))?;
                Some((receivers as f64, estimate.median / 1000.0))
            })
            .collect();
        points.sort_by(|(one, _), (other, _)| one.total_cmp(other));
        points
    };
    draw(path, "CPU of one delivery, one broadcast in flight", "receivers", "µs", true, lines(points))
}

/// Resident memory above that of the fresh process, by connections.
pub fn memory(outcomes: &[Outcome], path: &Path) -> anyhow::Result<()> {
    let idle = outcomes
        .iter()
        .find(|outcome| matches!(outcome.scenario.parse(), Ok(Scenario::Idle { over: Over::Tcp, .. })));
    let points = |server: Contestant| {
        let rounds = idle.and_then(|idle| idle.of(server)).map(|series| series.rounds.as_slice());
        let rounds = rounds.unwrap_or_default();
        let count = rounds.first().map_or(0, |round| round.memory.len());
        let at = |at: usize| {
            let of_round = |round: &crate::measurement::Measurement| {
                let (fresh, here) = (round.memory.first()?, round.memory.get(at)?);
                Some((here.connections as f64, (here.bytes as f64 - fresh.bytes as f64) / 1e6))
            };
            let points: Vec<_> = rounds.iter().filter_map(of_round).collect();
            let bytes: Vec<_> = points.iter().map(|(_, bytes)| *bytes).collect();
            Some((points.first()?.0, Estimate::of(&bytes)?.median))
        };
        (0..count).filter_map(at).collect()
    };
    draw(path, "Memory of idle connections", "connections", "MB", false, lines(points))
}

fn lines(points: impl Fn(Contestant) -> Vec<(f64, f64)>) -> Vec<Line> {
    let line = |server| Line { server, points: points(server) };
    Contestant::ALL.into_iter().map(line).filter(|line| line.points.len() > 1).collect()
}

const fn colour(server: Contestant) -> RGBColor {
    match server {
        Contestant::Patio => RGBColor(0xc2, 0x41, 0x0c),
        Contestant::Socketioxide => RGBColor(0x1d, 0x4e, 0xd8),
        Contestant::Node => RGBColor(0x15, 0x80, 0x3d),
        Contestant::Limit => RGBColor(0x73, 0x73, 0x73),
    }
}

fn draw(
    path: &Path,
    title: &str,
    x: &str,
    y: &str,
    logarithmic: bool,
    lines: Vec<Line>,
) -> anyhow::Result<()> {
    if lines.is_empty() {
        // One of a former run would belong to other tables.
        fs::remove_file(path).ok();
        return Ok(());
    }
    let all = || lines.iter().flat_map(|line| &line.points);
    let least = all().map(|point| point.0).fold(f64::INFINITY, f64::min);
    let most = all().map(|point| point.0).fold(0.0, f64::max);
    let top = all().map(|point| point.1).fold(0.0, f64::max) * 1.08;

    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    let failed = |error: &dyn std::fmt::Display| anyhow!("cannot draw {}: {error}", path.display());
    area.fill(&WHITE).map_err(|error| failed(&error))?;
    let mut builder = ChartBuilder::on(&area);
    builder
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .margin_right(32)
        .x_label_area_size(44)
        .y_label_area_size(56);
    macro_rules! plot {
        ($range:expr) => {{
            let mut chart = builder.build_cartesian_2d($range, 0.0..top).map_err(|error| failed(&error))?;
            chart
                .configure_mesh()
                .light_line_style(WHITE)
                .x_desc(x)
                .y_desc(y)
                .label_style(("sans-serif", 14))
                .x_label_formatter(&|value| format!("{value:.0}"))
                .y_label_formatter(&|value| format!("{value:.0}"))
                .draw()
                .map_err(|error| failed(&error))?;
            for Line { server, points } in lines {
                let colour = colour(server);
                chart
                    .draw_series(LineSeries::new(points, colour.stroke_width(2)).point_size(4))
                    .map_err(|error| failed(&error))?
                    .label(server.name())
                    .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
            }
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperLeft)
                .label_font(("sans-serif", 14))
                .background_style(WHITE)
                .border_style(RGBColor(0xd4, 0xd4, 0xd4))
                .draw()
                .map_err(|error| failed(&error))?;
        }};
    }
    if logarithmic {
        plot!((least..most).log_scale());
    } else {
        plot!(least..most);
    }
    area.present().map_err(|error| failed(&error))
}

//! A plot of times over sizes as SVG, both axes logarithmic.
//!
//! It is written by hand: a plot needs lines, texts and two axes, and a crate that can do more would bring in more than that
//! saves.

use std::fmt::Write as _;

use crate::{COLOURS, whole};

/// The width of the picture, in pixels.
const WIDTH: f64 = 760.0;

/// The height of the picture, in pixels.
const HEIGHT: f64 = 482.0;

/// The beginning of the horizontal axis: room for the times to its left.
const LEFT: f64 = 70.0;

/// The end of the horizontal axis: room for the legend.
const RIGHT: f64 = WIDTH - 170.0;

/// The end of the vertical axis, under the title and the sentence below it.
const TOP: f64 = 62.0;

/// The beginning of the vertical axis, above the sizes.
const BOTTOM: f64 = HEIGHT - 50.0;

/// One line of the plot with its bound, which is dashed.
pub struct Curve {
    /// Its name.
    pub name: String,
    /// Points: size and seconds.
    pub measured: Vec<(f64, f64)>,
    /// The same for the bound.
    pub bound: Vec<(f64, f64)>,
}

/// A plot.
pub struct Plot {
    /// Its title.
    pub title: &'static str,
    /// A sentence that says what to see.
    pub reading: &'static str,
    /// What the horizontal axis shows. The label adds that it is logarithmic.
    pub sizes: &'static str,
    /// What the vertical axis shows. The label adds the same.
    pub times: &'static str,
    /// The lines, with a colour each.
    pub curves: Vec<Curve>,
}

/// A logarithmic axis: whole powers of ten, between two places on the picture.
struct Axis {
    decades: (i32, i32),
    pixels: (f64, f64),
}

impl Axis {
    fn of(values: impl Iterator<Item = f64> + Clone, pixels: (f64, f64)) -> Self {
        let (least, most) = (values.clone().fold(f64::INFINITY, f64::min), values.fold(1.0, f64::max));
        let decades = (least.min(most).log10().floor() as i32, most.log10().ceil() as i32);
        Self { decades: (decades.0, decades.1.max(decades.0 + 1)), pixels }
    }

    fn place(&self, value: f64) -> f64 {
        let (first, last) = (f64::from(self.decades.0), f64::from(self.decades.1));
        self.pixels.0 + (value.log10() - first) / (last - first) * (self.pixels.1 - self.pixels.0)
    }

    fn ticks(&self) -> impl Iterator<Item = f64> {
        (self.decades.0..=self.decades.1).map(|exponent| 10_f64.powi(exponent))
    }
}

impl Plot {
    /// Returns the picture. A logarithmic axis has no zero: a point that has no size or takes no time is left out.
    pub fn to_svg(&self) -> String {
        let points = || {
            let all = self.curves.iter().flat_map(|curve| curve.measured.iter().chain(&curve.bound));
            all.filter(|point| is_shown(point))
        };
        let sizes = Axis::of(points().map(|point| point.0), (LEFT, RIGHT));
        let times = Axis::of(points().map(|point| point.1), (BOTTOM, TOP));
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
        );
        heading(&mut svg, (12.0, 22.0), self.title, self.reading);
        text(&mut svg, ((LEFT + RIGHT) / 2.0, HEIGHT - 12.0), "middle", &format!("{} (logarithmic)", self.sizes));
        let _ = writeln!(
            svg,
            "<text transform=\"translate(18 {:.0}) rotate(-90)\" text-anchor=\"middle\">{} (logarithmic)</text>",
            (TOP + BOTTOM) / 2.0,
            self.times
        );
        for tick in sizes.ticks() {
            line(&mut svg, &[(sizes.place(tick), BOTTOM), (sizes.place(tick), TOP)], "#dddddd", false);
            text(&mut svg, (sizes.place(tick), BOTTOM + 18.0), "middle", &power(tick));
        }
        for tick in times.ticks() {
            line(&mut svg, &[(LEFT, times.place(tick)), (RIGHT, times.place(tick))], "#dddddd", false);
            text(&mut svg, (LEFT - 8.0, times.place(tick) + 4.0), "end", &power(tick));
        }
        for (number, (curve, colour)) in self.curves.iter().zip(COLOURS.iter().cycle()).enumerate() {
            let place = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
                points.iter().filter(|point| is_shown(point)).map(|(x, y)| (sizes.place(*x), times.place(*y))).collect()
            };
            line(&mut svg, &place(&curve.bound), colour, true);
            line(&mut svg, &place(&curve.measured), colour, false);
            for (x, y) in place(&curve.measured) {
                let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
            }
            let legend = TOP + 10.0 + 22.0 * number as f64;
            line(&mut svg, &[(RIGHT + 12.0, legend - 4.0), (RIGHT + 32.0, legend - 4.0)], colour, false);
            text(&mut svg, (RIGHT + 38.0, legend), "start", &curve.name);
        }
        let legend = TOP + 10.0 + 22.0 * self.curves.len() as f64;
        line(&mut svg, &[(RIGHT + 12.0, legend - 4.0), (RIGHT + 32.0, legend - 4.0)], "#666666", true);
        text(&mut svg, (RIGHT + 38.0, legend), "start", "the bound");
        svg.push_str("</svg>\n");
        svg
    }
}

fn is_shown((size, time): &(f64, f64)) -> bool {
    *size > 0.0 && *time > 0.0
}

/// Returns a power of ten.
fn power(value: f64) -> String {
    if value < 1.0 { value.to_string() } else { whole(value as usize) }
}

/// Writes a title in bold and a sentence under it, which are the picture's name and description for screen readers, too.
pub fn heading(svg: &mut String, (x, y): (f64, f64), title: &str, reading: &str) {
    let _ = writeln!(svg, "<title>{title}</title>\n<desc>{reading}</desc>");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" font-weight=\"bold\">{title}</text>");
    text(svg, (x, y + 20.0), "start", reading);
}

fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}

fn line(svg: &mut String, points: &[(f64, f64)], colour: &str, is_dashed: bool) {
    let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let dashes = if is_dashed { " stroke-dasharray=\"5 4\"" } else { "" };
    let _ = writeln!(svg, "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\"{dashes}/>", points.join(" "));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn svg() -> String {
        let curve = |name: &str, seconds| Curve {
            name: name.to_owned(),
            measured: vec![(1.0, seconds), (1_000.0, seconds)],
            bound: vec![],
        };
        let curves = vec![curve("fast", 10.0), curve("slow", 1_000.0)];
        Plot { title: "Time over size", reading: "Lower is better.", sizes: "sizes", times: "seconds", curves }.to_svg()
    }

    #[test]
    fn a_plot_says_what_it_shows_and_how_to_read_it() {
        let svg = svg();
        for text in
            [">Time over size</text>", ">Lower is better.</text>", ">sizes (logarithmic)<", ">seconds (logarithmic)<"]
        {
            assert_eq!(svg.matches(text).count(), 1, "{text}");
        }
        assert!(svg.contains("<title>Time over size</title>") && svg.contains("<desc>Lower is better.</desc>"));
    }

    #[test]
    fn each_power_of_ten_is_as_far_from_the_next_one() {
        let axis = Axis::of([1.0, 1_000.0].into_iter(), (0.0, 300.0));
        let places: Vec<f64> = axis.ticks().map(|tick| axis.place(tick).round()).collect();
        assert_eq!(places, [0.0, 100.0, 200.0, 300.0]);
        assert!(svg().contains(">1,000</text>"));
    }

    #[test]
    fn a_point_without_time_is_left_out() {
        let curve =
            Curve { name: "none".to_owned(), measured: vec![(0.0, 1.0), (1.0, 0.0), (10.0, 10.0)], bound: vec![] };
        let plot = Plot { title: "t", reading: "r", sizes: "s", times: "t", curves: vec![curve] };
        assert_eq!(plot.to_svg().matches("<circle").count(), 1);
    }
}

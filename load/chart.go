package load

import (
	"fmt"
	"html/template"
	"math"
	"strings"
	"time"
)

// curve is one line of a chart; NaN is a gap.
type curve struct {
	Name   string
	Color  string
	Values []float64
}

// chart is a plot over time, drawn as SVG: a page that holds it needs nothing else.
type chart struct {
	Title  string
	Unit   string
	Curves []curve
}

// The size of a chart and its margins, in pixels.
const (
	chartWidth, chartHeight = 720, 200
	marginLeft, marginRight = 64, 8
	marginTop, marginBottom = 8, 22
	plotWidth, plotHeight   = chartWidth - marginLeft - marginRight, chartHeight - marginTop - marginBottom
	mostPoints              = plotWidth // more would not be seen
)

// charts are those of a report.
func (p *Report) charts() []chart {
	n := len(p.Windows)
	values := func(of func(*Window) float64) []float64 {
		list := make([]float64, n)
		for i := range p.Windows {
			list[i] = of(&p.Windows[i])
		}
		return list
	}
	latency := func(of func(*Window) time.Duration) []float64 {
		return values(func(w *Window) float64 {
			if w.Requests == 0 {
				return math.NaN()
			}
			return float64(of(w)) / float64(time.Millisecond)
		})
	}
	told := func(of func(*Window) *float64) []float64 {
		return values(func(w *Window) float64 {
			if v := of(w); v != nil {
				return *v
			}
			return math.NaN()
		})
	}
	list := []chart{
		{"Throughput", "requests a second", []curve{
			{"answered", "#1f77b4", values(func(w *Window) float64 { return float64(w.Requests - w.Failures) })},
			{"failed", "#d62728", values(func(w *Window) float64 { return float64(w.Failures) })},
		}},
		{"Latency", "milliseconds", []curve{
			{"p50", "#2ca02c", latency(func(w *Window) time.Duration { return w.P50 })},
			{"p95", "#ff7f0e", latency(func(w *Window) time.Duration { return w.P95 })},
			{"p99", "#d62728", latency(func(w *Window) time.Duration { return w.P99 })},
		}},
		{"Load", "", []curve{
			{"users", "#7f7f7f", values(func(w *Window) float64 { return float64(w.Users) })},
			{"under way", "#9467bd", values(func(w *Window) float64 { return float64(w.InFlight) })},
		}},
		{"Lag", "records", []curve{{"lag", "#8c564b", told(func(w *Window) *float64 { return w.Lag })}}},
		{"Workers", "", []curve{{"workers", "#17becf", told(func(w *Window) *float64 { return w.Workers })}}},
	}
	kept := list[:0]
	for _, c := range list {
		if !math.IsInf(c.top(), -1) {
			kept = append(kept, c)
		}
	}
	return kept
}

// top is the largest value of a chart, -Inf when it has none.
func (c *chart) top() float64 {
	top := math.Inf(-1)
	for _, l := range c.Curves {
		for _, v := range l.Values {
			if !math.IsNaN(v) {
				top = max(top, v)
			}
		}
	}
	return top
}

// SVG draws the chart.
func (c *chart) SVG() template.HTML {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s over time">`, chartWidth, chartHeight, template.HTMLEscapeString(c.Title))
	step := niceStep(c.top())
	top := step * max(1, math.Ceil(c.top()/step))
	y := func(v float64) float64 { return marginTop + plotHeight*(1-v/top) }
	for v := 0.0; v <= top+step/2; v += step {
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" class="y">%.4g</text>`,
			marginLeft, chartWidth-marginRight, y(v), y(v), marginLeft-6, y(v)+4, v)
	}
	seconds := 0
	for _, l := range c.Curves {
		seconds = max(seconds, len(l.Values))
	}
	x := func(i int) float64 { return marginLeft + plotWidth*float64(i)/max(1, float64(seconds-1)) }
	for i := range 5 {
		at := (seconds - 1) * i / 4
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" class="x">%d s</text>`, x(at), chartHeight-6, at)
	}
	for _, l := range c.Curves {
		fmt.Fprintf(&b, `<path fill="none" stroke="%s" d="%s"><title>%s</title></path>`, l.Color, path(l.Values, x, y), template.HTMLEscapeString(l.Name))
	}
	b.WriteString("</svg>")
	return template.HTML(b.String()) //nolint:gosec // made of numbers and escaped names
}

// path draws a line that breaks where values are missing. Of a long test the
// largest of neighbouring values is drawn: a spike is what one looks for.
func path(values []float64, x func(int) float64, y func(float64) float64) string {
	var b strings.Builder
	every := (len(values) + mostPoints - 1) / mostPoints
	pen := "M"
	for i := 0; i < len(values); i += max(1, every) {
		v := math.NaN()
		for _, w := range values[i:min(len(values), i+max(1, every))] {
			if math.IsNaN(v) || w > v {
				v = w
			}
		}
		if math.IsNaN(v) {
			pen = "M"
			continue
		}
		fmt.Fprintf(&b, "%s%.1f %.1f", pen, x(i), y(v))
		if pen == "M" {
			fmt.Fprintf(&b, "h0.1") // so that a single point is seen
		}
		pen = "L"
	}
	return b.String()
}

// niceStep is 1, 2 or 5 times a power of ten, four or so of which reach top.
func niceStep(top float64) float64 {
	if top <= 0 || math.IsInf(top, 0) {
		return 1
	}
	raw := top / 4
	power := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5} {
		if raw <= m*power {
			return m * power
		}
	}
	return 10 * power
}

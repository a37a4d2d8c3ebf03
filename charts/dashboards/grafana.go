package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

// dashboard is one page.
type dashboard struct {
	uid, title string
	about      string
	perWorker  bool // one worker is chosen
	rows       []row
}

// row is a line of panels under a heading.
type row struct {
	title  string
	panels []panel
}

// panel shows queries over time, or their last value.
type panel struct {
	title string
	about string
	unit  string
	last  bool // the last value, large, in place of the curve
	lines []line
	// Bound is drawn as a line: where an alert or the scaler begins. 0: none.
	bound float64
}

// line is one query. In it $job and $instance stand for what is chosen on the page.
type line struct {
	expr   string
	legend string
	// Needs says which other system exports the series: "" is the pool's own.
	needs string
}

// The widths of a page and of a panel, in Grafana's units.
const (
	pageWidth   = 24
	panelHeight = 8
	statHeight  = 4
)

func (d *dashboard) json() ([]byte, error) {
	var panels []map[string]any
	y, id := 0, 0
	for _, r := range d.rows {
		id++
		panels = append(panels, map[string]any{
			"id": id, "type": "row", "title": r.title, "collapsed": false, "panels": []any{},
			"gridPos": grid(0, y, pageWidth, 1),
		})
		y++
		width, height := pageWidth/len(r.panels), panelHeight
		if r.panels[0].last {
			height = statHeight
		}
		for i := range r.panels {
			id++
			panels = append(panels, r.panels[i].json(id, grid(i*width, y, width, height)))
		}
		y += height
	}
	text, err := json.MarshalIndent(map[string]any{
		"uid": d.uid, "title": d.title, "description": d.about, "tags": []string{"millrace"},
		"schemaVersion": 39, "version": 1, "editable": true, "graphTooltip": 1,
		"refresh": "10s", "time": map[string]string{"from": "now-1h", "to": "now"}, "timezone": "browser",
		"templating":  map[string]any{"list": d.variables()},
		"annotations": map[string]any{"list": []any{swaps()}},
		"links":       []any{map[string]any{"type": "dashboards", "tags": []string{"millrace"}, "title": "Millrace", "asDropdown": true, "keepTime": true, "includeVars": true}},
		"panels":      panels,
	}, "", "  ")
	return append(text, '\n'), err
}

func grid(x, y, w, h int) map[string]int { return map[string]int{"x": x, "y": y, "w": w, "h": h} }

// source is the data source that is chosen on the page.
func source() map[string]string {
	return map[string]string{"type": "prometheus", "uid": "${datasource}"}
}

// variables are what is chosen on the page.
func (d *dashboard) variables() []any {
	query := func(name, label, q string, multi bool) map[string]any {
		return map[string]any{
			"name": name, "label": label, "type": "query", "datasource": source(), "refresh": 2, "sort": 1,
			"query": map[string]string{"query": q, "refId": name}, "definition": q,
			"multi": multi, "includeAll": multi, "allValue": ".*", "current": map[string]any{},
		}
	}
	list := []any{
		map[string]any{"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": map[string]any{}},
		query("job", "Pool", "label_values(inference_queue_len, job)", true),
	}
	if d.perWorker {
		list = append(list, query("instance", "Worker", `label_values(inference_queue_len{job=~"$job"}, instance)`, false))
	}
	return list
}

// swaps marks on every panel when a model version took over.
func swaps() map[string]any {
	return map[string]any{
		"name": "Model swaps", "datasource": source(), "enable": true, "iconColor": "purple",
		"expr": `sum by (model) (increase(millrace_model_swaps_total{job=~"$job"}[1m])) > 0`, "titleFormat": "{{model}} has a new version", "step": "60s",
	}
}

func (p *panel) json(id int, at map[string]int) map[string]any {
	var targets []any
	for i, l := range p.lines {
		targets = append(targets, map[string]any{
			"refId": string(rune('A' + i)), "expr": l.expr, "legendFormat": l.legend, "datasource": source(),
			"instant": p.last, "range": !p.last,
		})
	}
	defaults := map[string]any{"unit": p.unit, "min": 0, "thresholds": map[string]any{"mode": "absolute", "steps": p.steps()}}
	options := map[string]any{
		"legend": map[string]any{"displayMode": "list", "placement": "bottom"}, "tooltip": map[string]string{"mode": "multi", "sort": "desc"},
	}
	kind := "timeseries"
	if p.last {
		kind = "stat"
		options = map[string]any{"reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}}, "colorMode": "value", "graphMode": "none"}
	} else {
		defaults["custom"] = map[string]any{
			"lineWidth": 1, "fillOpacity": 8, "showPoints": "never", "spanNulls": false,
			"thresholdsStyle": map[string]string{"mode": p.boundStyle()},
		}
	}
	return map[string]any{
		"id": id, "type": kind, "title": p.title, "description": p.about, "datasource": source(), "gridPos": at,
		"fieldConfig": map[string]any{"defaults": defaults, "overrides": []any{}}, "options": options, "targets": targets,
	}
}

func (p *panel) steps() []any {
	steps := []any{map[string]any{"color": "green", "value": nil}}
	if p.bound > 0 {
		steps = append(steps, map[string]any{"color": "red", "value": p.bound})
	}
	return steps
}

func (p *panel) boundStyle() string {
	if p.bound > 0 {
		return "dashed"
	}
	return "off"
}

// pool selects the series of the chosen pools, of the chosen worker on a page for one.
const (
	pool = `{job=~"$job"}`
	one  = `{job=~"$job",instance=~"$instance"}`
)

// rate is the sum of a counter's rate, by labels.
func rate(counter, selector string, by ...string) string {
	return fmt.Sprintf("sum by (%s) (rate(%s%s[$__rate_interval]))", strings.Join(by, ", "), counter, selector)
}

// quantile is that of a histogram, by labels.
func quantile(q float64, histogram, selector string, by ...string) string {
	return fmt.Sprintf("histogram_quantile(%g, %s)", q, rate(histogram+"_bucket", selector, append(by, "le")...))
}

// quantiles are the usual three.
func quantiles(histogram, selector string) []line {
	return []line{
		{expr: quantile(0.5, histogram, selector), legend: "p50"},
		{expr: quantile(0.95, histogram, selector), legend: "p95"},
		{expr: quantile(0.99, histogram, selector), legend: "p99"},
	}
}

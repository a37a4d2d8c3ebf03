package load

import (
	_ "embed"
	"html/template"
	"io"
	"time"
)

//go:embed report.html
var page string

// WriteHTML writes the report as one page that needs nothing else.
func (p *Report) WriteHTML(w io.Writer) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"ms":      ms,
		"percent": func(share float64) float64 { return 100 * share },
		"utc":     func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") },
	}).Parse(page)
	if err != nil {
		return err
	}
	return t.Execute(w, struct {
		*Report
		Reasons []string
		Charts  []chart
	}{p, p.reasons(), p.charts()})
}

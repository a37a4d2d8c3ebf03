package report

import (
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
)

// String is the report as a table.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s to %s\n\n", r.Begin.UTC().Format("2006-01-02 15:04:05"), r.End.UTC().Format("15:04:05 MST"))
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "verdict\tclaim\tmeasured\tbound\t")
	for _, c := range r.Claims {
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", c.verdict(), c.Says, c.figure(), c.Bound, c.Note)
	}
	_ = t.Flush()
	b.WriteString("\n" + r.word() + "\n")
	return b.String()
}

// Markdown is the report for a page or a pull request.
func (r *Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Validation: %s\n\n%s to %s.\n\n", r.word(), r.Begin.UTC().Format("2006-01-02 15:04:05"), r.End.UTC().Format("15:04:05 MST"))
	b.WriteString("| verdict | claim | measured | bound | |\n|---|---|---|---|---|\n")
	for _, c := range r.Claims {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", c.verdict(), c.Says, c.figure(), c.Bound, c.Note)
	}
	b.WriteString("\nHow each figure was made:\n\n")
	for _, c := range r.Claims {
		fmt.Fprintf(&b, "- %s: `%s`\n", c.Says, c.Source)
	}
	return b.String()
}

func (r *Report) word() string {
	if r.Go {
		return "GO"
	}
	return "NO-GO"
}

func (c *Claim) verdict() string {
	if c.Holds {
		return "go"
	}
	return "NO-GO"
}

func (c *Claim) figure() string {
	if c.Measured == nil {
		return "-"
	}
	return strings.TrimSpace(strconv.FormatFloat(*c.Measured, 'g', 4, 64) + " " + c.Unit)
}

// worse is how much worse a figure may be before a comparison says so.
const worse = 0.1

// Compare is a table of two reports, the earlier one first.
func Compare(before, now *Report) string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "claim\tbefore\tnow\tchange\t")
	earlier := make(map[string]Claim, len(before.Claims))
	for _, c := range before.Claims {
		earlier[c.ID] = c
	}
	for _, c := range now.Claims {
		old, known := earlier[c.ID]
		delete(earlier, c.ID)
		if !known {
			_, _ = fmt.Fprintf(t, "%s\t-\t%s\tnew\t%s\n", c.Says, c.figure(), c.verdict())
			continue
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\n", c.Says, old.figure(), c.figure(), change(&old, &c), turned(&old, &c))
	}
	for _, c := range before.Claims {
		if _, gone := earlier[c.ID]; gone {
			_, _ = fmt.Fprintf(t, "%s\t%s\t-\tgone\t\n", c.Says, c.figure())
		}
	}
	_ = t.Flush()
	return b.String()
}

func change(old, now *Claim) string {
	switch {
	case old.Measured == nil || now.Measured == nil:
		return "-"
	case *old.Measured == *now.Measured:
		return "same"
	case *old.Measured == 0:
		return "from 0"
	}
	ratio := *now.Measured / *old.Measured
	text := fmt.Sprintf("x %.2f", ratio)
	if now.better > 0 && ratio < 1-worse || now.better < 0 && ratio > 1+worse {
		text += ", worse"
	}
	return text
}

func turned(old, now *Claim) string {
	switch {
	case old.Holds == now.Holds:
		return now.verdict()
	case now.Holds:
		return "NO-GO before, go now"
	}
	return "go before, NO-GO now"
}

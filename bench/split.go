package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// divided is the worker with versions beside the model.
type divided struct {
	name         string
	work         []measurement
	rates, costs []float64 // of the worker without, by rate and processor time
}

// divide runs the worker with a tenth of the keys on another version, and then
// with a shadow too. The versions are the same model: what is measured is the
// dividing. work is the worker without.
func (b *bench) divide(ctx context.Context, r *result, folder, in string, work measurement) error {
	var more []string
	for i, variable := range []string{"MILLRACE_SPLIT", "MILLRACE_SHADOW"} {
		beside := fmt.Sprintf("%s-%d", folder, i)
		if err := another(beside, folder); err != nil {
			return err
		}
		more = append(more, fmt.Sprintf("%s=%s%s", variable, beside, []string{"=10", ""}[i]), "MILLRACE_TOPIC_SHADOW=none")
		m, err := b.worker(ctx, r, folder, in, atLeastOnce, more...)
		if err != nil {
			return err
		}
		if len(r.divided) == i {
			r.divided = append(r.divided, divided{name: []string{"worker, a tenth on another version", "the same, with a shadow"}[i]})
		}
		d := &r.divided[i]
		d.work, d.rates = append(d.work, m), append(d.rates, m.rate()/work.rate())
		d.costs = append(d.costs, work.micros(work.CPU)/m.micros(m.CPU))
		say("%s: %s %.0f/s, which is %.2f of the worker's", r.name, d.name, m.rate(), d.rates[len(d.rates)-1])
	}
	return nil
}

// another makes a copy of a model's folder that is another version.
func another(dir, folder string) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	if err := os.CopyFS(dir, os.DirFS(folder)); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "README.md"), []byte(dir), 0o600)
}

func (r *result) writeDivided(w io.Writer) {
	for _, d := range r.divided {
		r.line(w, d.name, d.work)
		rates, costs := stats(d.rates), stats(d.costs)
		fmt.Fprintf(w, "| **of the worker** | **%.2f** | %.2f – %.2f | | |\n", rates.mid, rates.low, rates.high)
		fmt.Fprintf(w, "| of it in processor time | %.2f | %.2f – %.2f | | |\n", costs.mid, costs.low, costs.high)
	}
}

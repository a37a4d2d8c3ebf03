package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
)

// target is the share of its limit that a worker should reach.
const target = 0.9

// report writes the tables.
func report(w io.Writer, cfg config, results []*result, forests []*treeResult, s *swaps, web *gatewayResult) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s/%s, %d cores shared by all processes, %s, GOGC=%s, %d repetitions: medians, with the least and the most.\n",
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), cfg.gogc, cfg.repeats)
	for _, r := range results {
		r.write(&b)
	}
	for _, f := range forests {
		f.write(&b)
	}
	if s != nil {
		s.write(&b)
	}
	if web != nil {
		web.write(&b)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *result) write(w io.Writer) {
	fmt.Fprintf(w, "\n**%s** (%s): %d requests of %d bytes over %d partitions, answers of %d bytes\n\n",
		r.name, r.about, r.records, r.request, partitions, r.answer.bytes())
	fmt.Fprintln(w, "| | records/s | least – most | its CPU, µs a record | the broker's |")
	fmt.Fprintln(w, "|---|--:|--:|--:|--:|")
	r.line(w, "pass-through", r.pass)
	r.line(w, "inference", r.infer)
	limits := stats(r.limits)
	own := median(each(r.pass, ownMicros)) + median(each(r.infer, ownMicros))
	fmt.Fprintf(w, "| limit | %.0f | %.0f – %.0f | %.2f | |\n", limits.mid, limits.low, limits.high, own)
	r.line(w, "worker", r.work)
	ratios, costs := stats(r.ratios), stats(r.costs)
	fmt.Fprintf(w, "| **of its limit** | **%.2f** | %.2f – %.2f | | |\n", ratios.mid, ratios.low, ratios.high)
	fmt.Fprintf(w, "| of it in processor time | %.2f | %.2f – %.2f | | |\n", costs.mid, costs.low, costs.high)
	if len(r.once) > 0 {
		r.line(w, "worker, exactly once", r.once)
		shares, cpu := stats(r.shares), stats(r.cpuShares)
		fmt.Fprintf(w, "| **of at least once** | **%.2f** | %.2f – %.2f | | |\n", shares.mid, shares.low, shares.high)
		fmt.Fprintf(w, "| of it in processor time | %.2f | %.2f – %.2f | | |\n", cpu.mid, cpu.low, cpu.high)
	}
	r.writeDivided(w)
	if ratios.mid < target {
		fmt.Fprintf(w, "\nThe target of %.1f is not reached.\n", target)
	}
}

func (r *result) line(w io.Writer, name string, ms []measurement) {
	rates := stats(each(ms, measurement.rate))
	broker := ""
	if ms[0].Broker > 0 {
		broker = fmt.Sprintf("%.2f", median(each(ms, func(m measurement) float64 { return m.micros(m.Broker) })))
	}
	fmt.Fprintf(w, "| %s | %.0f | %.0f – %.0f | %.2f | %s |\n",
		name, rates.mid, rates.low, rates.high, median(each(ms, ownMicros)), broker)
}

func ownMicros(m measurement) float64 { return m.micros(m.CPU) }

func each(ms []measurement, f func(measurement) float64) []float64 {
	values := make([]float64, len(ms))
	for i, m := range ms {
		values[i] = f(m)
	}
	return values
}

type spread struct{ low, mid, high float64 }

func stats(values []float64) spread {
	return spread{slices.Min(values), median(values), slices.Max(values)}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

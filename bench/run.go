package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/millrace/millrace/model/onnx"
)

// maxBatch is the worker's default.
const maxBatch = 64

// bench is one run.
type bench struct {
	config
	dir     string // for all that is written
	self    string // this program, for its children
	library string // ONNX Runtime's
	env     []string
	broker  *broker
	topics  *topics
	stage   int // counts topics and groups
}

func benchmark(ctx context.Context, cfg config) (err error) {
	b := &bench{config: cfg}
	if b.dir, err = os.MkdirTemp("", "millrace-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	if b.library, err = onnx.FindLibrary(""); err != nil {
		return err
	}
	var forests []*treeResult
	if cfg.trees {
		if forests, err = measureTrees(ctx, cfg, b.dir); err != nil {
			return err
		}
	}
	if len(cfg.models) == 0 && cfg.swaps == 0 && !cfg.gateway {
		return report(os.Stdout, cfg, nil, forests, nil, nil)
	}
	// Nothing of this process's environment: it is measured as it is by default.
	b.env = []string{"HOME=" + b.dir, "TMPDIR=" + b.dir, "GOGC=" + b.gogc}
	if b.binary == "" {
		if err := b.build(ctx); err != nil {
			return err
		}
	}
	say("starting the broker")
	if b.broker, err = startBroker(ctx, b.self, b.dir, []string{"HOME=" + b.dir}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.broker.end()) }()
	if b.topics, err = newTopics(b.broker.addr); err != nil {
		return err
	}
	defer b.topics.cl.Close()
	if err := b.topics.create(ctx, "replies", "dead"); err != nil {
		return err
	}
	var results []*result
	for _, name := range cfg.models {
		r, err := b.measure(ctx, name)
		if err != nil {
			return err
		}
		results = append(results, r)
	}
	var s *swaps
	if cfg.swaps > 0 {
		if s, err = b.swapped(ctx); err != nil {
			return err
		}
	}
	var web *gatewayResult
	if cfg.gateway {
		if web, err = b.measureGateway(ctx); err != nil {
			return err
		}
	}
	return report(os.Stdout, cfg, results, forests, s, web)
}

func (b *bench) build(ctx context.Context) error {
	say("building the worker")
	b.binary = filepath.Join(b.dir, "millrace")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", b.binary, "./cmd/millrace") //nolint:gosec // a fixed command
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build the worker (run this from the project's root, or give --millrace): %w", err)
	}
	return nil
}

// result is what was measured of one model.
type result struct {
	subject
	records               int
	request               int // mean bytes
	answer                *answer
	pass, infer, work     []measurement
	once                  []measurement // the worker, exactly once
	ratios, costs, limits []float64     // one a repetition
	shares, cpuShares     []float64     // of exactly once, by the worker's rate and processor time
	divided               []divided
}

func (b *bench) measure(ctx context.Context, name string) (*result, error) {
	s, err := modelNamed(name)
	if err != nil {
		return nil, err
	}
	r := &result{subject: s, records: s.records}
	if b.records > 0 {
		r.records = b.records
	}
	folder, err := s.folder(b.dir)
	if err != nil {
		return nil, err
	}
	say("%s: writing %d requests to %d partitions", name, r.records, partitions)
	in := "requests-" + name
	if err := b.topics.create(ctx, in); err != nil {
		return nil, err
	}
	if r.request, err = b.topics.fill(ctx, in, &s, r.records); err != nil {
		return nil, err
	}
	say("%s: warming up", name)
	if _, err := b.worker(ctx, r, folder, in, atLeastOnce); err != nil {
		return nil, err
	}
	for i := range b.repeats {
		pass, err := b.pass(ctx, r, in)
		if err != nil {
			return nil, err
		}
		infer, err := b.infer(ctx, r, folder)
		if err != nil {
			return nil, err
		}
		work, err := b.worker(ctx, r, folder, in, atLeastOnce)
		if err != nil {
			return nil, err
		}
		r.add(pass, infer, work)
		say("%s %d/%d: pass-through %.0f/s, inference %.0f/s, worker %.0f/s, which is %.2f of its limit",
			name, i+1, b.repeats, pass.rate(), infer.rate(), work.rate(), r.ratios[i])
		if b.split {
			if err := b.divide(ctx, r, folder, in, work); err != nil {
				return nil, err
			}
		}
		if !b.once {
			continue
		}
		once, err := b.worker(ctx, r, folder, in, exactlyOnce)
		if err != nil {
			return nil, err
		}
		r.once, r.shares = append(r.once, once), append(r.shares, once.rate()/work.rate())
		r.cpuShares = append(r.cpuShares, work.micros(work.CPU)/once.micros(once.CPU))
		say("%s %d/%d: exactly once %.0f/s, which is %.2f of the worker's", name, i+1, b.repeats, once.rate(), r.shares[i])
	}
	return r, b.topics.remove(ctx, in)
}

// add notes a repetition. Costs add on the same cores: what the pass-through
// and the inference take one after the other is the limit. The same is told in
// processor time, the broker's included, which other programs on the machine
// disturb less.
func (r *result) add(pass, infer, work measurement) {
	r.pass, r.infer, r.work = append(r.pass, pass), append(r.infer, infer), append(r.work, work)
	limit := 1 / (1/pass.rate() + 1/infer.rate())
	r.limits = append(r.limits, limit)
	r.ratios = append(r.ratios, work.rate()/limit)
	parts := pass.micros(pass.CPU+pass.Broker) + infer.micros(infer.CPU)
	r.costs = append(r.costs, parts/work.micros(work.CPU+work.Broker))
}

// next is a name that no stage has had.
func (b *bench) next(kind string) string {
	b.stage++
	return kind + "-" + strconv.Itoa(b.stage)
}

func (b *bench) pass(ctx context.Context, r *result, in string) (measurement, error) {
	out := b.next("results")
	like, err := json.Marshal(r.answer)
	if err != nil {
		return measurement{}, err
	}
	argv := []string{b.self, rolePass, "--broker", b.broker.addr, "--group", out, "--in", in, "--out", out, "--like", string(like)}
	return b.consume(ctx, "pass-through", argv, b.env, out, r.records, b.written(out))
}

func (b *bench) infer(ctx context.Context, r *result, folder string) (measurement, error) {
	return measured(ctx, b.dir, "inference", []string{
		b.self, roleInfer, "--model", r.name, "--folder", folder, "--library", b.library,
		"--records", strconv.Itoa(r.records), "--batch", strconv.Itoa(maxBatch),
	}, b.env)
}

// worker runs the binary as a user does. What its answers are like is noted,
// for the pass-through to write the same.
func (b *bench) worker(ctx context.Context, r *result, folder, in, delivery string, more ...string) (measurement, error) {
	out := b.next("results")
	count := b.written(out)
	if delivery == exactlyOnce {
		count = b.committed(out)
	}
	env := append([]string{
		"MILLRACE_KAFKA_BROKERS=" + b.broker.addr, "MILLRACE_GROUP=" + out, "MILLRACE_ADMIN_ADDR=127.0.0.1:0",
		"MILLRACE_TOPIC_REQUESTS=" + in, "MILLRACE_TOPIC_RESULTS=" + out,
		"MILLRACE_TOPIC_REPLIES=replies", "MILLRACE_TOPIC_DLQ=dead",
		"MILLRACE_DELIVERY=" + delivery, "MILLRACE_MODEL=" + folder, "MILLRACE_ONNXRUNTIME_LIB=" + b.library,
	}, append(more, b.env...)...)
	return b.consume(ctx, "worker", []string{b.binary, "worker"}, env, out, r.records, count, func() error {
		dead, err := b.topics.count(ctx, "dead")
		if err == nil && dead > 0 {
			err = fmt.Errorf("the worker refused %d requests", dead)
		}
		if err == nil && r.answer == nil {
			r.answer, err = b.topics.sample(ctx, b.broker.addr, out)
		}
		return err
	})
}

// The values of MILLRACE_DELIVERY that are measured.
const (
	atLeastOnce = "at-least-once"
	exactlyOnce = "exactly-once"
)

// written counts the records of a topic.
func (b *bench) written(topic string) counter {
	return func(ctx context.Context) (int, error) { return b.topics.count(ctx, topic) }
}

// committed counts the requests that a group has committed: the results of
// transactions have markers between them.
func (b *bench) committed(group string) counter {
	return func(ctx context.Context) (int, error) { return b.topics.committed(ctx, group) }
}

// consume runs a process that answers all requests into the topic out, and
// then the checks.
func (b *bench) consume(ctx context.Context, name string, argv, env []string, out string, total int, count counter, checks ...func() error) (measurement, error) {
	if err := b.topics.create(ctx, out); err != nil {
		return measurement{}, err
	}
	p, err := launch(ctx, b.dir, name, argv, env, nil)
	if err != nil {
		return measurement{}, err
	}
	o := &observer{count, b.broker.process}
	m, err := o.watch(ctx, p, total)
	if err != nil {
		return m, errors.Join(err, p.stop())
	}
	errs := []error{p.stop()}
	for _, check := range checks {
		errs = append(errs, check())
	}
	return m, errors.Join(append(errs, b.topics.remove(ctx, out))...)
}

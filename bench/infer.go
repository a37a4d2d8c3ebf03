package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/load"
)

const roleInfer = "child-infer"

// inferMain decodes, predicts and encodes without Kafka, in batches, on all
// cores.
func inferMain(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet(roleInfer, flag.ContinueOnError)
	name := flags.String("model", "", "")
	folder := flags.String("folder", "", "")
	library := flags.String("library", "", "")
	records := flags.Int("records", 0, "")
	batch := flags.Int("batch", 0, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s, err := modelNamed(*name)
	if err != nil {
		return err
	}
	snap, err := load.Open(ctx, load.Options{
		Folder: *folder, Name: s.name, Version: "1", MaxBatch: *batch, Library: *library,
		Limits: model.Limits{MaxRows: 1024, MaxElements: 1 << 24},
	})
	if err != nil {
		return err
	}
	all := s.bodies(*records)
	if _, err := inferAll(ctx, snap, all[:min(len(all), 64**batch)], *batch); err != nil { // warm
		return err
	}
	runtime.GC()
	cpu, start := ownCPU(), time.Now()
	size, err := inferAll(ctx, snap, all, *batch)
	if err != nil {
		return err
	}
	tell(measurement{Records: *records, Wall: time.Since(start), CPU: ownCPU() - cpu, Bytes: size})
	return snap.Release()
}

// inferAll answers the bodies on all cores and returns the bytes of the answers.
func inferAll(ctx context.Context, snap *model.Snapshot, bodies [][]byte, batch int) (int64, error) {
	var next, size atomic.Int64
	errs := make([]error, runtime.GOMAXPROCS(0))
	var wg sync.WaitGroup
	for lane := range errs {
		wg.Go(func() {
			var in inferrer
			for errs[lane] == nil {
				from := int(next.Add(int64(batch))) - batch
				if from >= len(bodies) {
					return
				}
				n, err := in.answer(ctx, snap, bodies[from:min(from+batch, len(bodies))])
				size.Add(int64(n))
				errs[lane] = err
			}
		})
	}
	wg.Wait()
	return size.Load(), errors.Join(errs...)
}

// inferrer is the memory of one lane.
type inferrer struct {
	reqs   []*model.Request
	join   model.Batch
	values []byte
}

func (in *inferrer) answer(ctx context.Context, snap *model.Snapshot, bodies [][]byte) (int, error) {
	for len(in.reqs) < len(bodies) {
		in.reqs = append(in.reqs, new(model.Request))
	}
	reqs := in.reqs[:len(bodies)]
	for i, body := range bodies {
		if err := snap.Codec.Decode(reqs[i], "application/json", body); err != nil {
			return 0, err
		}
	}
	if !in.join.Join(reqs) {
		return 0, errors.New("the requests do not fit together")
	}
	outputs, err := snap.Model.Predict(ctx, in.join.Inputs)
	if err != nil {
		return 0, err
	}
	cut, err := in.join.Cut(outputs)
	if err != nil {
		return 0, err
	}
	in.values = in.values[:0]
	for i, req := range reqs {
		if in.values, err = snap.Codec.Encode(in.values, req, cut[i], snap.Name, snap.Version); err != nil {
			return 0, fmt.Errorf("encode: %w", err)
		}
	}
	return len(in.values), nil
}

package main

import (
	"context"
	"encoding/json"
	"flag"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const rolePass = "child-pass"

// passMain consumes requests and produces a result for each, with the client's
// options as the worker sets them and nothing between: the least that a worker
// of this client costs. Results have the size and the headers of the worker's.
// It runs until ctx ends.
func passMain(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet(rolePass, flag.ContinueOnError)
	broker := flags.String("broker", "", "")
	group := flags.String("group", "", "")
	in := flags.String("in", "", "")
	out := flags.String("out", "", "")
	like := flags.String("like", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	var result answer
	if err := json.Unmarshal([]byte(*like), &result); err != nil {
		return err
	}
	const inFlight = 4096 // as the worker's defaults
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(*broker), kgo.DisableClientMetrics(),
		kgo.ConsumerGroup(*group), kgo.ConsumeTopics(*in), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxBytes(16<<20), kgo.FetchMaxPartitionBytes(1<<20),
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.AutoCommitMarks(), kgo.AutoCommitInterval(500*time.Millisecond),
		kgo.ProducerLinger(0), kgo.MaxBufferedRecords(inFlight), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
	)
	if err != nil {
		return err
	}
	defer cl.CloseAllowingRebalance()
	template := kgo.Record{Topic: *out, Value: make([]byte, result.Value), Headers: result.Headers}
	for {
		fetches := cl.PollRecords(ctx, inFlight)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) { forward(context.WithoutCancel(ctx), cl, p.Records, template) })
	}
}

// forward produces a result for each record of a partition. ctx does not end:
// that would abort what is on its way.
func forward(ctx context.Context, cl *kgo.Client, recs []*kgo.Record, template kgo.Record) {
	results := make([]kgo.Record, len(recs))
	for i, r := range recs {
		results[i] = template
		results[i].Partition = r.Partition
		last := i == len(recs)-1
		cl.Produce(ctx, &results[i], func(_ *kgo.Record, err error) {
			if err == nil && last { // acknowledged in order: the others are too
				cl.MarkCommitRecords(r)
			}
		})
	}
}

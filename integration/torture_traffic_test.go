//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/integration/torture"
)

// send produces requests to the partitions in turn, at a steady rate, until ctx
// ends; then it waits until the brokers have acknowledged all.
func (b *bench) send(ctx context.Context, cl *kgo.Client) error {
	const burst = 20 * time.Millisecond
	tick := time.NewTicker(burst)
	defer tick.Stop()
	n := max(1, b.rate*int(burst/time.Millisecond)/1000)
	var failed atomic.Pointer[error]
	for i := 0; ctx.Err() == nil; {
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		for range n {
			// What ends ctx must not abort what may be on the broker already.
			cl.Produce(context.WithoutCancel(ctx), b.requests.Record(i, int32(i%partitions)), func(_ *kgo.Record, err error) {
				if err != nil {
					failed.CompareAndSwap(nil, &err)
					return
				}
				b.sent.Add(1)
			})
			i++
		}
	}
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	err := cl.Flush(flush)
	if e := failed.Load(); e != nil {
		err = errors.Join(err, *e)
	}
	return err
}

// read fills the ledger until ctx ends.
func (b *bench) read(ctx context.Context, cl *kgo.Client) {
	for ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(b.ledger.Read)
	}
}

// sample looks at the committed offsets until ctx ends: first at them, then at
// the ends of what is written. What answers a committed request is below.
func (b *bench) sample(ctx context.Context) {
	for ; ctx.Err() == nil; nap(ctx, 500*time.Millisecond) {
		once, cancel := context.WithTimeout(ctx, 3*time.Second)
		committed, err := b.committed(once)
		var ends torture.Ends
		if err == nil {
			ends, err = b.ends(once, results, replies, deadLetters)
		}
		cancel()
		if err == nil {
			b.ledger.Audit(committed, ends)
		}
	}
}

// committed are the offsets of the requests topic below which the group has
// done with all.
func (b *bench) committed(ctx context.Context) (map[int32]int64, error) {
	at := make(map[int32]int64)
	if b.mode == queue {
		shares, err := b.shares(ctx)
		for p, o := range shares {
			at[p] = o.StartOffset
		}
		return at, err
	}
	offsets, err := b.cluster.admin.FetchOffsets(ctx, group)
	if err == nil {
		err = offsets.Error()
	}
	if err != nil {
		return nil, err
	}
	offsets.Each(func(o kadm.OffsetResponse) {
		if o.Topic == requests {
			at[o.Partition] = o.At
		}
	})
	return at, nil
}

// shares are the group's places in the requests topic, in queue mode.
func (b *bench) shares(ctx context.Context) (map[int32]kadm.ShareOffset, error) {
	groups, err := b.cluster.admin.DescribeShareGroupOffsets(ctx, group)
	if err == nil {
		err = groups.Error()
	}
	if err != nil {
		return nil, err
	}
	shares := groups[group].Offsets[requests]
	for _, o := range shares {
		if o.Err != nil {
			return nil, o.Err
		}
	}
	return shares, nil
}

// ends are the high watermarks: answers of a transaction that has not ended are
// below them.
func (b *bench) ends(ctx context.Context, topics ...string) (torture.Ends, error) {
	listed, err := b.cluster.admin.ListEndOffsets(ctx, topics...)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, err
	}
	ends := make(torture.Ends)
	listed.Each(func(o kadm.ListedOffset) {
		if ends[o.Topic] == nil {
			ends[o.Topic] = make(map[int32]int64)
		}
		ends[o.Topic][o.Partition] = o.Offset
	})
	return ends, nil
}

// level fails while the group has a lag.
func (b *bench) level(ctx context.Context) error {
	behind := make(map[int32]string)
	if b.mode == queue {
		// By the broker's own count: the start that it tells is written down
		// with the next acknowledgement only.
		shares, err := b.shares(ctx)
		if err != nil {
			return err
		}
		for p, o := range shares {
			if o.Lag != 0 {
				behind[p] = fmt.Sprintf("%d behind %d", o.Lag, o.StartOffset)
			}
		}
	} else {
		committed, err := b.committed(ctx)
		if err != nil {
			return err
		}
		ends, err := b.ends(ctx, requests)
		if err != nil {
			return err
		}
		for p, end := range ends[requests] {
			if at := max(0, committed[p]); at != end {
				behind[p] = fmt.Sprintf("%d of %d", at, end)
			}
		}
	}
	if len(behind) > 0 {
		return fmt.Errorf("partitions have a lag: %v", behind)
	}
	return nil
}

//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/integration/torture"
)

// settle waits, without faults, for all that has to come right by itself.
func (b *bench) settle(ctx context.Context, t *testing.T) {
	t.Helper()
	within := func(limit time.Duration, rule string, ask func(context.Context) error) {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		if err := poll(ctx, ask); err != nil {
			b.ledger.Violate(rule, "%v after %s of peace", err, limit)
		}
	}
	t.Log("all faults are over; waiting for what is not answered")
	within(2*time.Minute, torture.RuleLost, func(ctx context.Context) error {
		ends, err := b.ends(ctx, requests)
		if err == nil && !b.ledger.Whole(ends[requests]) {
			err = errors.New("answers are missing")
		}
		return err
	})
	within(time.Minute, torture.RuleLag, b.level)
	for _, s := range b.slots {
		if s.current() == nil {
			continue
		}
		within(45*time.Second, torture.RuleVersion, func(ctx context.Context) error {
			b.mu.Lock()
			want := b.pointed[s.n]
			b.mu.Unlock()
			got, err := s.serves(ctx)
			if err == nil && got != want {
				err = fmt.Errorf("%s serves version %q, its alias names %s", s.name(), got, want)
			}
			return err
		})
	}
}

// stopAll asks the workers to end, which in peace they do with 0.
func (b *bench) stopAll(ctx context.Context) {
	var all sync.WaitGroup
	for _, s := range b.slots {
		all.Go(func() {
			p := s.current()
			s.term(ctx)
			if p != nil && p.err != nil {
				b.ledger.Violate(torture.RuleStop, "%s: %v: %s", p.log, p.err, tail(p.log, 1))
			}
		})
	}
	all.Wait()
}

// drainTopics waits until everything that was written is read.
func (b *bench) drainTopics(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := poll(ctx, func(ctx context.Context) error {
		ends, err := b.ends(ctx, requests, results, replies, deadLetters)
		if err == nil && !b.ledger.Reached(ends) {
			err = errors.New("the end of the logs is not reached")
		}
		return err
	})
	if err != nil {
		b.ledger.Violate(torture.RuleUnhandled, "reading the answers: %v", err)
	}
}

// exited notes that a worker ended unasked, with its last words.
func (b *bench) exited(p *process) {
	words := tail(p.log, 1)
	if _, rest, ok := strings.Cut(words, "error="); ok {
		words = rest
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.report.Exits[fmt.Sprintf("%v: %.160s", p.err, words)]++
}

// progress says every five seconds how far it is.
func (b *bench) progress(ctx context.Context, t *testing.T) {
	t.Helper()
	for nap(ctx, 5*time.Second); ctx.Err() == nil; nap(ctx, 5*time.Second) {
		c := b.ledger.Counts()
		_, broken := b.ledger.Broken()
		up := 0
		for _, s := range b.slots {
			if s.current() != nil {
				up++
			}
		}
		b.mu.Lock()
		t.Logf("%d of %d faults; %d sent, %d answered, %d twice; %d workers; longest gap %.1f s; %d samples; violations %v",
			b.report.Faults, len(b.faults), b.sent.Load(), c.Answered, c.Repeated, up, c.Gap.Seconds(), c.Audited, broken)
		b.mu.Unlock()
	}
}

// finish reports.
func (b *bench) finish(t *testing.T, begun time.Time) {
	t.Helper()
	r := b.report
	r.Fill(b.ledger)
	r.Duration = time.Since(begun).Seconds()
	for _, s := range b.slots {
		r.Starts += s.starts
	}
	if sent := int(b.sent.Load()); sent != r.Requests {
		t.Errorf("%d requests were acknowledged, and the topic has %d", sent, r.Requests)
	}
	require.NoError(t, r.Write(b.logs, b.faults))
	head, row := r.Row()
	fmt.Printf("\n%s\n%s\n%s\n\n", r, head, row)
	if len(r.Counts) > 0 {
		t.Errorf("promises were broken: %v", r.Counts)
	}
	if r.Audits == 0 {
		t.Error("the committed offsets were never looked at")
	}
}

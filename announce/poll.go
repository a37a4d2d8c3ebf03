package announce

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"
)

// serve asks the registry while this member is elected, until ctx ends.
func (b *Board) serve(ctx context.Context) {
	for {
		var yes bool
		select {
		case <-ctx.Done():
			return
		case yes = <-b.elected:
		}
		for yes && ctx.Err() == nil {
			term, end := context.WithCancel(ctx)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				b.lead(term)
			}()
			select {
			case <-ctx.Done():
			case yes = <-b.elected:
			}
			end()
			<-ended
		}
	}
}

// lead is one term of office.
func (b *Board) lead(ctx context.Context) {
	select { // what others wrote is to be known, their epochs above all
	case <-b.ready:
	case <-ctx.Done():
		return
	}
	b.Metrics.Elected.Set(1)
	defer b.Metrics.Elected.Set(0)
	b.Log.InfoContext(ctx, "this worker asks the registry for the pool", "group", b.election())
	defer b.Log.InfoContext(ctx, "this worker no longer asks the registry for the pool")
	defer b.resign()
	for epoch := b.begin(); ctx.Err() == nil; {
		began := time.Now()
		b.round(ctx, epoch)
		timer := time.NewTimer(jitter(b.Poll))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-b.ask:
			// Not at once, when that was a moment ago.
			sleep(ctx, min(nudgePause, b.Poll)-time.Since(began))
		}
		timer.Stop()
		if b.superseded(epoch) {
			// Another member was elected after this one, though this one was not
			// told that it is out. It is, unless the other falls silent.
			if !sleep(ctx, tolerance*b.Poll) {
				return
			}
			if !b.silent() {
				continue
			}
			epoch = b.begin()
		}
	}
}

// begin takes an epoch above all that were seen. It is the time, so that it is
// also above that of a member whose first record is still to come.
func (b *Board) begin() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.ask: // which was for whoever was elected before
	default:
	}
	b.leading = max(time.Now().UnixMilli(), b.top+1)
	return b.leading
}

func (b *Board) resign() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.leading = 0
}

func (b *Board) superseded(epoch int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.top > epoch
}

// silent says that nothing holds any more of what was announced.
func (b *Board) silent() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.answers {
		if a.holds(b.Poll) {
			return false
		}
	}
	return true
}

// atATime bounds the references that are asked for side by side.
const atATime = 8

// round asks for every reference once.
func (b *Board) round(ctx context.Context, epoch int64) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, atATime)
	wanted, gone := b.references(time.Now())
	for _, r := range gone {
		b.post(ctx, kindAnswer, r, nil)
		b.post(ctx, kindWant, r, nil)
	}
	for _, r := range wanted {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			b.announce(ctx, epoch, r)
		})
	}
	wg.Wait()
}

var errSlow = errors.New("the registry did not answer within MILLRACE_MODEL_POLL")

func (b *Board) announce(ctx context.Context, epoch int64, reference string) {
	a := &answer{Epoch: epoch, By: b.Self, At: time.Now(), Period: b.Poll}
	once, cancel := context.WithTimeoutCause(ctx, b.Poll, errSlow)
	found, err := b.Resolve(once, reference)
	if err != nil && errors.Is(context.Cause(once), errSlow) {
		err = errors.Join(errSlow, err)
	}
	cancel()
	if ctx.Err() != nil || b.superseded(epoch) {
		return
	}
	if time.Since(a.At) > max(b.cfg.Session, 2*b.Poll) {
		// This process stood still. Whoever was elected meanwhile knows better.
		b.Log.WarnContext(ctx, "an answer of the registry came too late to be announced", "reference", reference, "took", time.Since(a.At))
		return
	}
	a.Answer = found
	if err != nil {
		a.Error, a.Missing = err.Error(), b.Missing(err)
		a.Answer = b.lastGood(reference)
	}
	if err := b.write(ctx, kindAnswer, reference, a); err != nil {
		b.Log.WarnContext(ctx, "what the registry answered cannot be announced", "reference", reference, "error", err)
	}
	if err == nil {
		b.forgive(ctx, reference, b.Identity(found))
	}
}

func (b *Board) lastGood(reference string) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.answers[reference]; a != nil {
		return a.Answer
	}
	return nil
}

// forgive takes a withdrawal out of the topic when the reference names another
// version than the one that was withdrawn.
func (b *Board) forgive(ctx context.Context, reference, identity string) {
	b.mu.Lock()
	w, known := b.takes[reference]
	b.mu.Unlock()
	if !known || w.Identity == identity && (w.Until.IsZero() || time.Now().Before(w.Until)) {
		return
	}
	b.post(ctx, kindWithdrawn, reference, nil)
}

// jitter spreads by ± 20 %.
func jitter(d time.Duration) time.Duration {
	return d - d/5 + rand.N(max(1, 2*d/5)) //nolint:gosec // spreads load, guards nothing
}

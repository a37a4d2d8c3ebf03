package torture

// audit is a look at the committed offsets, to be held against the answers once
// all that was written by then has been read.
type audit struct {
	committed map[int32]int64
	until     map[at]int64
}

// Ends are the ends of topics' partitions.
type Ends map[string]map[int32]int64

// Audit takes what the group had committed, and the ends of the logs of answers
// and dead letters as they were asked for after that. What is committed was
// answered before: the answers stand below these ends, though a transaction may
// have to end before they can be read.
func (l *Ledger) Audit(committed map[int32]int64, ends Ends) {
	a := audit{committed: committed, until: make(map[at]int64)}
	for topic, ps := range ends {
		for p, end := range ps {
			a.until[at{topic, p}] = end
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.audits = append(l.audits, a)
	l.audit()
}

// audit settles those that can be; l.mu is held.
func (l *Ledger) audit() {
	for len(l.audits) > 0 && l.reached(l.audits[0].until) {
		for p, offset := range l.audits[0].committed {
			if prefix := l.account(p).prefix; offset > prefix && l.known(p, offset) {
				l.violate(RuleBeyond, "partition %d: %d is committed, and answers are whole up to %d", p, offset, prefix)
			}
		}
		l.audits = l.audits[1:]
		l.audited++
	}
}

// known says whether the requests up to an offset have been read: what has not
// cannot be in the prefix.
func (l *Ledger) known(partition int32, offset int64) bool {
	return l.positions[at{l.topics.Requests, partition}] >= offset
}

func (l *Ledger) reached(until map[at]int64) bool {
	for place, end := range until {
		if l.positions[place] < end {
			return false
		}
	}
	return true
}

// Whole says whether all requests up to the ends of their topic are answered.
func (l *Ledger) Whole(ends map[int32]int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p, end := range ends {
		if l.account(p).prefix < end {
			return false
		}
	}
	return true
}

// Close holds all requests against their answers, when no more are to come. It
// returns how many are lost.
func (l *Ledger) Close() (lost int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p, a := range l.accounts {
		for offset, e := range a.entries {
			l.close(p, int64(offset), e)
		}
	}
	return l.counts[RuleLost]
}

func (l *Ledger) close(p int32, offset int64, e *entry) {
	switch {
	case e == nil || e.number < 0 && e.answers+e.letters == 0:
		l.violate(RuleUnhandled, "%s/%d/%d was never read", l.topics.Requests, p, offset)
	case e.number < 0:
		l.violate(RuleUnasked, "%s/%d/%d, said to be request %d", l.topics.Requests, p, offset, e.told)
	case e.answers == 0:
		l.violate(RuleLost, "%s/%d/%d, request %d", l.topics.Requests, p, offset, e.number)
	case e.told != e.number:
		l.violate(RuleWrong, "%s/%d/%d is request %d, and its answer says %d", l.topics.Requests, p, offset, e.number, e.told)
	case e.letters == 0 && l.requests.Of(e.number).Status != StatusOK:
		l.violate(RuleNoLetter, "%s/%d/%d, request %d", l.topics.Requests, p, offset, e.number)
	}
}

// Reached says whether all below these ends has been read.
func (l *Ledger) Reached(ends Ends) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for topic, ps := range ends {
		for p, end := range ps {
			if l.positions[at{topic, p}] < end {
				return false
			}
		}
	}
	return true
}

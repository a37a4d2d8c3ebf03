package sharegroup

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The values of AUTO_OFFSET_RESET, which are the broker's too.
const resetLatest = "latest"

// Settings of a share group, and the broker's that holds where a group has
// none.
const (
	settingReset     = "share.auto.offset.reset"
	settingLock      = "share.record.lock.duration.ms"
	settingIsolation = "share.isolation.level"
	settingSession   = "share.session.timeout.ms"
	settingLimit     = "share.delivery.count.limit" // of a group from Kafka 4.3 on
	brokerLimit      = "group.share.delivery.count.limit"
	defaultLimit     = 5
)

// Errors that trying again does not end.
var (
	ErrNoShareGroups = errors.New("the brokers have no share groups")
	ErrGroupSettings = errors.New("the share group's settings are not right")
	ErrOtherGroup    = errors.New("the group is of another kind")
)

// prepare sees to it that the broker has share groups and that the group is set
// up. It waits for a broker that does not answer.
func (q *Queue) prepare(ctx context.Context) error {
	last := ""
	for {
		err := q.setUp(ctx)
		if err == nil || errors.Is(err, ErrNoShareGroups) || errors.Is(err, ErrGroupSettings) || errors.Is(err, ErrOtherGroup) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if reason := err.Error(); reason != last {
			q.Log.Warn("waiting for the share group's coordinator", "error", err)
			last = reason
		}
		pause(ctx, 500*time.Millisecond)
	}
}

func (q *Queue) setUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Second, errors.New("no answer within 10s"))
	defer cancel()
	if err := q.checkBrokers(ctx); err != nil {
		return err
	}
	if err := q.checkKind(ctx); err != nil {
		return err
	}
	return q.configure(ctx)
}

const needs = "; queue delivery needs Apache Kafka 4.2 or later with the feature share.version at 1 (kafka-features.sh upgrade --feature share.version=1)"

// checkBrokers asks every broker: records are fetched from all of them.
func (q *Queue) checkBrokers(ctx context.Context) error {
	brokers, err := q.admin.ApiVersions(ctx)
	if err != nil {
		return fmt.Errorf("versions of the brokers: %w", err)
	}
	for _, b := range brokers.Sorted() {
		if b.Err != nil {
			return fmt.Errorf("versions of broker %d: %w", b.NodeID, b.Err)
		}
		for _, want := range []struct {
			key     kmsg.Key
			version int16 // with strict limits and renewal
		}{{kmsg.ShareGroupHeartbeat, 1}, {kmsg.ShareFetch, 2}, {kmsg.ShareAcknowledge, 2}} {
			if have, ok := b.KeyMaxVersion(int16(want.key)); !ok || have < want.version {
				return fmt.Errorf("%w: broker %d does not know %s in version %d"+needs,
					ErrNoShareGroups, b.NodeID, want.key.Name(), want.version)
			}
		}
		if features := b.Raw().FinalizedFeatures; len(features) > 0 && !slices.ContainsFunc(features, func(f kmsg.ApiVersionsResponseFinalizedFeature) bool {
			return f.Name == "share.version" && f.MaxVersionLevel > 0
		}) {
			return fmt.Errorf("%w: share.version is 0"+needs, ErrNoShareGroups)
		}
	}
	return nil
}

// checkKind refuses the name of a consumer group, to which the broker would
// only answer that there is no such share group.
func (q *Queue) checkKind(ctx context.Context) error {
	others, err := q.admin.ListGroupsByType(ctx, []string{"classic", "consumer", "streams"})
	if err != nil {
		return fmt.Errorf("list groups: %w", err)
	}
	if _, taken := others[q.member.Group]; !taken {
		return nil
	}
	return fmt.Errorf("%w: %s is a consumer group; name another with MILLRACE_GROUP, or end its members and, if nobody needs its commits, delete it: kafka-consumer-groups.sh --bootstrap-server %s --delete --group %s. A share group knows no commits: it begins at MILLRACE_AUTO_OFFSET_RESET",
		ErrOtherGroup, q.member.Group, q.seeds(), q.member.Group)
}

type setting struct{ name, value string }

// configure sets what is not as it should be: a group that is set up already
// needs no right to alter it.
func (q *Queue) configure(ctx context.Context) error {
	have, err := q.groupSettings(ctx)
	if err != nil {
		return err
	}
	want := []setting{
		{settingReset, q.member.OffsetReset},
		{settingIsolation, "read_committed"},
		{settingLock, strconv.FormatInt(q.cfg.Lock.Milliseconds(), 10)},
		{settingSession, strconv.FormatInt(q.member.SessionTimeout.Milliseconds(), 10)},
	}
	limit := q.limit(ctx, have)
	if _, settable := have[settingLimit]; settable && limit < mostDeliveries && (q.cfg.Attempts == 0 || limit < q.cfg.Attempts+spare) {
		limit = mostDeliveries
		want = append(want, setting{settingLimit, strconv.Itoa(limit)})
	}
	if err := q.bound(limit); err != nil {
		return err
	}
	want = slices.DeleteFunc(want, func(s setting) bool { return have[s.name] == s.value })
	if len(want) == 0 {
		return nil
	}
	if err := q.alter(ctx, want); err != nil {
		return err
	}
	q.Log.Info("share group is set up", "group", q.member.Group, "settings", join(want))
	return nil
}

// bound sets how often a record is tried by what the broker leaves.
func (q *Queue) bound(limit int) error {
	attempts := q.cfg.Attempts
	if attempts == 0 {
		attempts = min(defaultAttempts, limit-1)
	}
	if attempts >= limit {
		return fmt.Errorf("%w: a request is tried in %d deliveries, and the broker drops one in silence after %d: set the broker's %s to %d or more, or MILLRACE_QUEUE_ATTEMPTS below %d",
			ErrGroupSettings, attempts, limit, brokerLimit, attempts+spare, limit)
	}
	if attempts+spare > limit {
		q.Log.Warn("the broker drops a request in silence when a worker ends while it gives it up; a higher limit of the broker leaves more tries",
			"setting", brokerLimit, "limit", limit, "attempts", attempts)
	}
	q.attempts.Store(int32(attempts)) //nolint:gosec // Validate bounds it.
	return nil
}

// groupSettings reads the group's settings, empty where it may not.
func (q *Queue) groupSettings(ctx context.Context) (map[string]string, error) {
	return q.describe(ctx, kmsg.ConfigResourceTypeGroupConfig, q.member.Group)
}

func (q *Queue) describe(ctx context.Context, kind kmsg.ConfigResourceType, name string) (map[string]string, error) {
	req := kmsg.NewPtrDescribeConfigsRequest()
	res := kmsg.NewDescribeConfigsRequestResource()
	res.ResourceType, res.ResourceName = kind, name
	req.Resources = append(req.Resources, res)
	resp, err := req.RequestWith(ctx, q.client)
	if err != nil {
		return nil, fmt.Errorf("settings of %s: %w", name, err)
	}
	have := make(map[string]string)
	for _, r := range resp.Resources {
		err := kerr.ErrorForCode(r.ErrorCode)
		if denied(err) {
			return have, nil
		}
		if err != nil {
			return nil, fmt.Errorf("settings of %s: %w", name, err)
		}
		for _, c := range r.Configs {
			have[c.Name] = ""
			if c.Value != nil {
				have[c.Name] = *c.Value
			}
		}
	}
	return have, nil
}

// limit is the number of deliveries after which the broker drops a record.
func (q *Queue) limit(ctx context.Context, group map[string]string) int {
	if n, err := strconv.Atoi(group[settingLimit]); err == nil {
		return n
	}
	brokers, err := q.admin.ListBrokers(ctx)
	if err != nil || len(brokers) == 0 {
		return defaultLimit
	}
	have, err := q.describe(ctx, kmsg.ConfigResourceTypeBroker, strconv.Itoa(int(brokers[0].NodeID)))
	if n, bad := strconv.Atoi(have[brokerLimit]); err == nil && bad == nil {
		return n
	}
	return defaultLimit
}

func (q *Queue) alter(ctx context.Context, want []setting) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	res := kmsg.NewIncrementalAlterConfigsRequestResource()
	res.ResourceType, res.ResourceName = kmsg.ConfigResourceTypeGroupConfig, q.member.Group
	for _, s := range want {
		c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		c.Name, c.Op, c.Value = s.name, kmsg.IncrementalAlterConfigOpSet, &s.value
		res.Configs = append(res.Configs, c)
	}
	req.Resources = append(req.Resources, res)
	resp, err := req.RequestWith(ctx, q.client)
	if err != nil {
		return fmt.Errorf("set up share group %s: %w", q.member.Group, err)
	}
	for _, r := range resp.Resources {
		err := kerr.ErrorForCode(r.ErrorCode)
		switch {
		case err == nil:
		case denied(err):
			return fmt.Errorf("%w, and this client may not set them (it needs AlterConfigs on the group, or somebody to run: kafka-configs.sh --bootstrap-server %s --alter --entity-type groups --entity-name %s --add-config %s): %w",
				ErrGroupSettings, q.seeds(), q.member.Group, join(want), err)
		case errors.Is(err, kerr.InvalidConfig), errors.Is(err, kerr.InvalidRequest), errors.Is(err, kerr.PolicyViolation):
			return fmt.Errorf("%w: the broker refuses %s, which come of MILLRACE_AUTO_OFFSET_RESET, MILLRACE_QUEUE_LOCK, MILLRACE_SESSION_TIMEOUT and MILLRACE_QUEUE_ATTEMPTS: %w %s", ErrGroupSettings, join(want), err, text(r.ErrorMessage))
		default:
			return fmt.Errorf("set up share group %s: %w %s", q.member.Group, err, text(r.ErrorMessage))
		}
	}
	return nil
}

func denied(err error) bool {
	return errors.Is(err, kerr.GroupAuthorizationFailed) || errors.Is(err, kerr.ClusterAuthorizationFailed) || errors.Is(err, kerr.TopicAuthorizationFailed)
}

func join(settings []setting) string {
	var b strings.Builder
	for i, s := range settings {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(s.name + "=" + s.value)
	}
	return b.String()
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (q *Queue) seeds() string {
	brokers, _ := q.client.OptValue("SeedBrokers").([]string)
	return strings.Join(brokers, ",")
}

package main

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/follow"
)

// closes counts how often a model is closed.
type closes struct {
	model.Model
	n *int
}

func (c closes) Close() error {
	*c.n++
	return errors.New("closed")
}

// target loads what its Resolved names, and counts the loads and closes.
func countingTarget(loads, closed *int) follow.Target {
	return follow.Target{
		Resolve: func(context.Context) (follow.Resolved, error) {
			return follow.Resolved{Name: "m", Version: "1", Identity: "a"}, nil
		},
		Load: func(_ context.Context, r follow.Resolved) (*model.Snapshot, error) {
			if r.Identity == "bad" {
				return nil, errors.New("does not load")
			}
			*loads++
			return model.Open(&model.Snapshot{Name: r.Name, Version: r.Version, Identity: r.Identity, Model: closes{n: closed}}), nil
		},
	}
}

func TestReferencesOfOneVersionShareIt(t *testing.T) {
	var loads, closed int
	var v versions
	var last atomic.Pointer[follow.Resolved]
	own, other := v.follow(countingTarget(&loads, &closed), &last), v.follow(countingTarget(&loads, &closed), nil)
	r, err := own.Resolve(t.Context())
	require.NoError(t, err)
	require.Equal(t, r, *last.Load())

	first, err := own.Load(t.Context(), r)
	require.NoError(t, err)
	renamed := r
	renamed.Name, renamed.Version = "n", "7"
	second, err := other.Load(t.Context(), renamed)
	require.NoError(t, err)
	require.Equal(t, 1, loads)
	require.NotSame(t, first, second)
	require.Equal(t, []string{"n", "7", "a"}, []string{second.Name, second.Version, second.Identity})
	require.NoError(t, first.Release())
	require.Zero(t, closed, "the other still runs on it")
	third, err := own.Load(t.Context(), r)
	require.NoError(t, err)
	require.Equal(t, 1, loads)
	require.NoError(t, second.Release())
	require.EqualError(t, third.Release(), "closed")
	require.Equal(t, 1, closed)

	// What is closed is loaded anew, and another version is another.
	again, err := other.Load(t.Context(), r)
	require.NoError(t, err)
	next, err := own.Load(t.Context(), follow.Resolved{Name: "m", Version: "2", Identity: "b"})
	require.NoError(t, err)
	require.Equal(t, 3, loads)
	_, err = own.Load(t.Context(), follow.Resolved{Identity: "bad"})
	require.Error(t, err)
	require.Error(t, again.Release())
	require.Error(t, next.Release())
	require.Equal(t, 3, closed)
	require.Empty(t, v.loaded)
}

// Two that load a version at the same time each have their own.
func TestLoadsAtTheSameTimeAreNotShared(t *testing.T) {
	var loads, closed int
	var v versions
	load := countingTarget(&loads, &closed).Load
	r := follow.Resolved{Identity: "a"}
	one, err := load(t.Context(), r)
	require.NoError(t, err)
	two, err := load(t.Context(), r)
	require.NoError(t, err)
	one, two = v.keep(one), v.keep(two)
	require.Error(t, two.Release())
	require.Equal(t, 1, closed)
	require.Error(t, one.Release())
	require.Equal(t, 2, closed)
	require.Empty(t, v.loaded)
}

#!/bin/bash
# Runs inside the virtual machine: every test in a process of its own, as nextest does. `here` says what is where; the
# repository and its target directory are at the same paths as on the host, because tests have them compiled in.
. /shared/here
export SHOAL_PATIENCE
options=trans=virtio,version=9p2000.L,msize=1048576,cache=loose,ro
mkdir -p "$REPOSITORY" && mount -t 9p -o $options repository "$REPOSITORY" || exit 1
mountpoint -q "$TARGET" || mount -t 9p -o $options target "$TARGET" || exit 1
echo "Linux $(uname -r), $(stat -fc %T /sys/fs/cgroup) on /sys/fs/cgroup"
passed=0 failed=0
wanted() {
    [ -s /shared/filters ] || return 0
    while read -r filter; do case "$1" in *"$filter"*) return 0 ;; esac; done </shared/filters
    return 1
}
while read -r name dir file; do
    cp "$file" /var/tmp/test || exit 1
    cd "$dir" || exit 1
    for test in $(/var/tmp/test --list --format terse 2>/dev/null | sed -n 's/: test$//p'); do
        wanted "$name::$test" || continue
        began=$SECONDS
        if timeout 900 /var/tmp/test --exact "$test" --nocapture >/var/tmp/said 2>&1 </dev/null; then
            passed=$((passed + 1))
            echo "PASS [$((SECONDS - began)) s] $name $test"
        else
            failed=$((failed + 1))
            echo "FAIL [$((SECONDS - began)) s] $name $test"
            tail -n 40 /var/tmp/said
            cp /var/tmp/said "/shared/failed-$name-${test//:/_}"
        fi
    done
done </shared/tests
echo "$passed passed, $failed failed" | tee /shared/summary
sync

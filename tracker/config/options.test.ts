// Options: every way to give one, every limit, and that all that is made from the table agrees with it.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { newCommand, UsageError } from '@skep/cli/command.ts'
import { completion as completionOf } from '@skep/cli/completion.ts'
import type { Given as AnyGiven } from '@skep/cli/layers.ts'
import { layer } from '@skep/cli/layers.ts'
import { printConfig } from '@skep/cli/manual.ts'
import { nearest } from '@skep/cli/nearest.ts'
import { type Option, variableOf } from '@skep/cli/options.ts'
import { parseBytes, parseMilliseconds, showBytes, showMilliseconds } from '@skep/cli/values.ts'
import fc from 'fast-check'
import * as v from 'valibot'
import { hasPeers, replicaAddressOf } from './faults.ts'
import { configurationDocument } from './manual.ts'
import { type ConfigKey, OPTIONS, type TrackerConfig } from './options.ts'
import { addConfigFlags, CONFIG_KEYS, configOf, TABLE } from './table.ts'

const completion = (shell: string): string =>
  completionOf(shell, {
    commands: [['tracker', 'run one']],
    configured: ['tracker'],
    table: TABLE,
    words: { ctl: ['status', '--json'] },
  })

type Given = AnyGiven<TrackerConfig>
const given = (some: Partial<Given>): Given => ({ flags: new Map(), environment: {}, file: null, ...some })
const file = (text: string): Given['file'] => ({ path: 'skep.yaml', text })

function config(some: Partial<Given>): TrackerConfig {
  const layered = layer(TABLE, given(some))
  assert.ok(layered.ok, layered.ok ? '' : layered.faults.join('\n'))
  return layered.config
}

function faults(some: Partial<Given>): readonly string[] {
  const layered = layer(TABLE, given(some))
  return layered.ok ? [] : layered.faults
}

/** As skep tracker reads a command line. */
function flags(...args: string[]): TrackerConfig {
  const command = addConfigFlags(newCommand('skep tracker', ''))
  command.parse(args, { from: 'user' })
  return configOf(command, {}).config
}

test('a flag is stronger than a variable, that than the file, that than the default', () => {
  const all = {
    flags: new Map<ConfigKey, unknown>([['udpPort', '4']]),
    environment: { SKEP_UDP_PORT: '3', SKEP_HTTP_PORT: '30' },
    file: file('udp-port: 2\nhttp-port: 20\ncontrol-port: 200\n'),
  }
  const { udpPort, httpPort, controlPort, replicaPort } = config(all)
  assert.deepEqual([udpPort, httpPort, controlPort, replicaPort], [4, 30, 200, 5560])
  const layered = layer(TABLE, given(all))
  assert.ok(layered.ok)
  const sources = (['udpPort', 'httpPort', 'controlPort', 'replicaPort'] as const).map((key) =>
    layered.sources.get(key),
  )
  assert.deepEqual(sources, ['flag', 'environment', 'file', 'default'])
})

test('files may be YAML or JSON, with text, numbers, lists and switches', () => {
  const { memoryBytes, hosts, fullScrape, allowPrivate, parkForMs, denyList } = config({
    file: file(
      'memory: 1GiB\nhost: ["::1", 127.0.0.1]\nfull-scrape: on\nallow-private: on\npark-for: 2s\ndeny-list:\n',
    ),
  })
  assert.deepEqual(
    [memoryBytes, hosts, fullScrape, allowPrivate, parkForMs, denyList],
    [1024 ** 3, ['::1', '127.0.0.1'], true, 'on', 2000, null],
  )
  const json = config({
    file: file('{"udp-port": 7000, "full-scrape": true, "allow-private": false, "memory": 33554432}'),
  })
  assert.deepEqual(
    [json.udpPort, json.fullScrape, json.allowPrivate, json.memoryBytes],
    [7000, true, 'off', 33_554_432],
  )
})

test('unknown names are refused with the nearest one, all at once', () => {
  const found = faults({
    environment: { SKEP_UPD_PORT: '1', SKEP_MEMROY: '1GiB' },
    file: file('udpPort: 1\nqqqqqqqq: 2\n'),
  })
  assert.deepEqual(found, [
    'skep.yaml: unknown key udpPort (did you mean udp-port?)',
    'skep.yaml: unknown key qqqqqqqq',
    'unknown variable SKEP_UPD_PORT (did you mean SKEP_UDP_PORT?)',
    'unknown variable SKEP_MEMROY (did you mean SKEP_MEMORY?)',
  ])
  assert.throws(() => flags('--udp-prot', '1'), /unknown option '--udp-prot'\n\(Did you mean --udp-port\?\)/)
  assert.equal(nearest('numwant-maximum', ['numwant-max', 'interval-max']), 'numwant-max')
})

test("Kubernetes' variables for Services are left alone, ours are not", () => {
  const environment = {
    SKEP_SERVICE_HOST: '10.0.0.1',
    SKEP_UDP_SERVICE_PORT: '6969',
    SKEP_UDP_SERVICE_PORT_TRACKER: '6969',
    SKEP_UDP_PORT: 'udp://10.0.0.1:6969',
    SKEP_PORT: 'tcp://10.0.0.1:8168',
    SKEP_UDP_PORT_6969_UDP: 'udp://10.0.0.1:6969',
    SKEP_UDP_PORT_6969_UDP_ADDR: '10.0.0.1',
    SKEP_HTTP_PORT: '7000',
  }
  const { udpPort, httpPort } = config({ environment })
  assert.deepEqual([udpPort, httpPort], [6969, 7000])
})

test('files that are no configuration are refused with their place', () => {
  assert.match(faults({ file: file('udp-port: [1\n') })[0]!, /^skep\.yaml: .*line 2/s)
  assert.match(faults({ file: file('- 1\n') })[0]!, /keys and values/)
  assert.match(faults({ file: file('udp-port: 1\nudp-port: 2\n') })[0]!, /unique/)
  assert.match(faults({ file: file(`# ${'x'.repeat(1024 * 1024)}`) })[0]!, /more than/)
  assert.deepEqual(faults({ file: file('') }), [])
  assert.deepEqual(faults({ file: file('# nothing\n') }), [])
})

test('what is out of its limits is refused, what is just within is taken', () => {
  const cases: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    ['name', ['a', 'r-0', 'x'.repeat(63)], ['', '-a', 'a_b', 'x'.repeat(64), 'a.b']],
    ['host', ['::', '1.2.3.4,::1'], ['', 'localhost', '1.2.3', ',', '1.2.3.4:80']],
    ['udp-port', ['0', '65535'], ['65536', '-1', '1.5', 'abc', '0x10', '']],
    ['control-host', ['localhost', '::1', 'r0.skep'], ['', 'a b', '[::1]']],
    ['data-dir', ['/x', 'a b'], ['', 'x'.repeat(4097)]],
    ['log-store', ['lmdb'], ['LMDB', 'rocksdb', '']],
    ['linger', ['0', '1s'], ['1001ms', '5', '-1ms', 'ms']],
    ['snapshot-log-size', ['1MiB', '64GiB'], ['1023KiB', '65GiB']],
    ['purge-on-stop', ['on', 'no', 'true'], ['maybe', '']],
    ['memory', ['16MiB', '1TiB', '16777216'], ['15MiB', '1025GiB', '512XB', '1e9']],
    ['interval', ['10s', '1d', '90m'], ['9s', '2d', '10500ms', '1800']],
    ['target-answers', ['1'], ['0']],
    ['numwant-default', ['0', '200'], ['1001']],
    ['numwant-max', ['50', '1000'], ['0', '1001']],
    ['udp-workers', ['1', '64'], ['0', '65']],
    ['udp-answer-bytes', ['512', '1472B'], ['511', '1473']],
    ['udp-receive-buffer', ['64KiB', '1GiB'], ['63KiB', '2GiB']],
    ['id-grace', ['0', '1h'], ['61m']],
    ['park-for', ['100ms', '1m'], ['99ms', '61s']],
    ['interval-min', ['0', '1h'], ['2d']],
    [
      'trusted-proxies',
      ['', '10.0.0.0/8,fd00::/8', '1.2.3.4'],
      ['10.0.0.0/33', 'fd00::/129', '10/8', 'x', '1.2.3.4/8/8'],
    ],
    ['max-http-connections', ['1', '1000000'], ['0', '1000001']],
    ['log-level', ['trace'], ['silly']],
  ]
  for (const [flag, right, wrong] of cases) {
    const variable = variableOf(TABLE, flag)
    // An interval above --interval-max contradicts another option, not its own limits.
    const wide = flag === 'interval' ? { SKEP_INTERVAL_MAX: '1d' } : {}
    for (const text of right)
      assert.deepEqual(faults({ environment: { ...wide, [variable]: text } }), [], `${flag} ${text}`)
    for (const text of wrong) {
      const [fault = ''] = faults({ environment: { [variable]: text } })
      assert.ok(
        fault.startsWith(`${variable} is `) && fault.includes('it must be'),
        `${flag} ${text}: ${fault}`,
      )
    }
  }
})

test('options that contradict each other are refused', () => {
  assert.match(faults({ environment: { SKEP_INTERVAL: '2h' } })[0]!, /--interval-max \(3600s\) is below/)
  assert.match(faults({ environment: { SKEP_NUMWANT_DEFAULT: '300' } })[0]!, /--numwant-default/)
  assert.match(
    faults({ environment: { SKEP_HTTP_PORT: '8169' } })[0]!,
    /--http-port and --control-port are both 8169/,
  )
  assert.deepEqual(faults({ environment: { SKEP_HTTP_PORT: '0', SKEP_CONTROL_PORT: '0' } }), [])
  assert.match(faults({ environment: { SKEP_HEALTH_PORT: '8168' } })[0]!, /--http-port and --health-port/)
  // Who had a port there before probes got theirs starts as before.
  assert.deepEqual(faults({ environment: { SKEP_HTTP_PORT: '8167' } }), [])
})

test('flags: lists repeat or take commas, switches stand alone or are turned off', () => {
  assert.deepEqual(flags('--host', '1.2.3.4', '--host', '::1').hosts, ['1.2.3.4', '::1'])
  assert.deepEqual(flags('--host=1.2.3.4,::1').hosts, ['1.2.3.4', '::1'])
  assert.equal(flags('--full-scrape').fullScrape, true)
  assert.equal(flags('--full-scrape', 'off').fullScrape, false)
  assert.equal(flags('--no-peer-details').peerDetails, false)
  assert.throws(() => flags('--udp-port'), /argument missing/)
  assert.throws(() => flags('extra'), /too many arguments/)
  assert.throws(() => flags('--udp-port', 'x'), UsageError)
  assert.throws(() => flags('--config', '/does/not/exist'), /the file is not there/)
})

test('what --print-config prints is a file that means the same', () => {
  const some = {
    flags: new Map<ConfigKey, unknown>([
      ['trustedProxies', '10.0.0.0/8,fd00::/8'],
      ['parkForMs', '2500ms'],
    ]),
    environment: {
      SKEP_DENY_LIST: "/x: 'y' # z",
      SKEP_HOST: '::',
      SKEP_NAME: '007',
      SKEP_ALLOW_PRIVATE: 'on',
      SKEP_FULL_SCRAPE: 'yes',
    },
  }
  const first = layer(TABLE, given(some))
  assert.ok(first.ok)
  const text = printConfig(TABLE, first.config, first.sources, null)
  assert.deepEqual(config({ file: file(text) }), first.config)
  for (const key of CONFIG_KEYS) assert.ok(text.includes(`\n${OPTIONS[key].flag}: `), key)
  assert.match(text, /This value: SKEP_DENY_LIST\./)
  assert.match(text, /This value: --park-for\./)
})

test('every default is within its own limits and comes back from how it is shown', () => {
  for (const key of CONFIG_KEYS) {
    const option = OPTIONS[key] as Option<unknown>
    assert.deepEqual(v.parse(option.type.schema, option.type.show(option.default)), option.default, key)
    assert.match(option.sentence, /\.$/, key)
  }
})

test('sizes and durations come back from how they are shown; odd text is refused, never thrown at', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 2 ** 49 }), (n) => assert.equal(parseBytes(showBytes(n)), n)),
  )
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1e12 }), (n) =>
      assert.equal(parseMilliseconds(showMilliseconds(n)), n),
    ),
  )
  fc.assert(
    fc.property(fc.string(), (text) => {
      for (const read of [parseBytes(text), parseMilliseconds(text)])
        assert.ok(read === null || Number.isFinite(read))
    }),
  )
})

test('any file is taken or refused with a sentence', () => {
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
      const layered = layer(TABLE, given({ file: file(text) }))
      assert.ok(layered.ok || layered.faults.every((fault) => fault.length > 0))
    }),
  )
})

test('completions name every option, and the shells take them', () => {
  for (const [shell, mark] of [
    ['bash', '--'],
    ['zsh', '--'],
    ['fish', '-l '],
  ] as const) {
    const script = completion(shell)
    for (const key of CONFIG_KEYS)
      assert.ok(script.includes(`${mark}${OPTIONS[key].flag}`), `${shell} ${key}`)
  }
  assert.match(completion('zsh'), /--park-for\[.*from 100ms to 1m; default 3\.5s\]/)
  for (const shell of ['bash', 'zsh', 'fish']) {
    const { status, stderr, error } = spawnSync(shell, ['-n'], { input: completion(shell), encoding: 'utf8' })
    if (error === undefined) assert.equal(status, 0, stderr)
  }
  const words = spawnSync(
    'bash',
    ['-c', `${completion('bash')}\nCOMP_WORDS=(skep tracker --udp-w) COMP_CWORD=2; _skep; echo "$COMPREPLY"`],
    { encoding: 'utf8' },
  )
  assert.equal(words.stdout.trim(), '--udp-workers')
  assert.throws(() => completion('tcsh'), UsageError)
})

test('docs/configuration.md is what the table says (npm run docs)', () => {
  assert.equal(
    readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8'),
    configurationDocument(),
  )
})

test('replicas: what several of them need is asked for, and nothing of it by one that is alone', () => {
  const three = '--initial-members=r0=10.0.0.1:5560,r1=[fd00::1]:5560,r2=r2.example:5560'
  const told = flags(three, '--name', 'r1', '--network-key-file', 'k', '--keepalive', '100ms')
  assert.deepEqual(told.initialMembers[1], { name: 'r1', address: '[fd00::1]:5560' })
  assert.deepEqual([told.parkForMs, replicaAddressOf(told)], [1700, '[fd00::1]:5560'])
  assert.equal(flags('--park-for', '5s', '--keepalive', '100ms').parkForMs, 5000)
  const cases: [string[], RegExp][] = [
    [[three], /--initial-members needs --network-key-file: all replicas share one key/],
    [[three, '--name', 'r9', '--network-key-file', 'k'], /does not name this replica \(--name r9\)/],
    [['--initial-members', 'r0=h:1,r0=h:2', '--network-key-file', 'k'], /the name r0 twice/],
    [['--initial-members', 'r0=h:1,r1=h:1', '--network-key-file', 'k'], /the address h:1 twice/],
    [['--initial-members', 'r0=h'], /it must be 0 to 64 replicas such as/],
    [['--join', 'h:5560', '--network-key-file', 'k'], /--join needs --replica-address/],
    [['--join', 'h:0'], /it must be 0 to 64 hosts with ports/],
  ]
  for (const [args, sentence] of cases)
    assert.throws(
      () => flags(...args),
      (error) => error instanceof UsageError && sentence.test(error.message),
      args.join(' '),
    )
  const joins = flags('--join', 'h:5560', '--replica-host', '10.0.0.9', '--network-key-file', 'k')
  assert.equal(replicaAddressOf(joins), '10.0.0.9:5560')
  assert.equal(hasPeers(flags()), false)
})

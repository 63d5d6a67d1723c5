"""What the turnstile job must make of a capture; `python3 scripts/reference --help` prints what it offers.

  csv_text   text to records of fields
  instants   text of a time to milliseconds since 1970
  message    a message to a reading, or the reason why it is a dead letter
  captures   saved messages of a topic, as files
  job        windows, lateness, repeats and sums: from messages to rows
  lake       what a job has written
  verdict    expected and written, compared
  nasty      messages with every trouble that we know
  generate   a capture of such messages
  cli        the commands
"""

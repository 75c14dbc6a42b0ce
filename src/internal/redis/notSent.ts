/**
 * The rejection of a command that was not sent.
 */

/**
 * Rejection of a command that changed nothing and never will: the caller may send it again.
 */
export class NotSent extends Error {
  constructor(message = "the client is not connected to the server: nothing was sent") {
    super(message)
    this.name = "NotSent"
  }
}

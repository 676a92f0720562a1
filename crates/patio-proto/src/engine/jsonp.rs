//! Polling through `<script>` tags: a response is a call, a request is a form.
